"""Timing of whole pictures and their parts: for `trt-pipeline bench` and benchmarks/latency.py.

Each candidate lives in a process of its own, so that start, memory and threads are its own; all
take turns, round by round, so that what else the machine does hits them alike.
"""
