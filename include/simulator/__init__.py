"""A device gateway with simulated devices behind it: IoTDA's calls, faults on demand, counters.

python -m include.simulator --port 0
"""
