// A JSON-RPC server from Go's standard library, to call against. Prints its port, serves until it is killed.
package main

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"time"
)

type Args struct{ A, B int }

type Arith struct{}

func (Arith) Multiply(args Args, reply *int) error {
	*reply = args.A * args.B
	return nil
}

type Echo struct{}

func (Echo) Say(text string, reply *string) error {
	*reply = text
	return nil
}

type Fail struct{}

func (Fail) Always(text string, reply *string) error {
	return errors.New("always fails: " + text)
}

type Slow struct{}

func (Slow) Sleep(milliseconds int, reply *string) error {
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
	*reply = "slept"
	return nil
}

func main() {
	for _, service := range []interface{}{Arith{}, Echo{}, Fail{}, Slow{}} {
		if err := rpc.Register(service); err != nil {
			panic(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go jsonrpc.ServeConn(connection)
	}
}
