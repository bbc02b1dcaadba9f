"""A simulated GPU: the real `pynvml` on a library of ctypes callbacks.

`config` says what the device is and what goes wrong with it, `curve` and `work` where its
power comes from, `device` turns that into counter, sensors and clocks, `library` gives them
NVML's C interface, `install` puts it under `pynvml`, here or in child processes. Names and
UUIDs say SIMULATED; only the devnet profile accepts such a device.
"""
