"""What the project is for, in a minute: secrets survive a power cut, and tampered state is refused."""
