import os

# Read when the host is imported: neither version may go to the network from a test.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("ALBUMENTATIONS_NO_TELEMETRY", "1")
os.environ.setdefault("ALBUMENTATIONS_OFFLINE", "1")
