#!/bin/sh
# The first process of the guest: runs /job, which tells the host its findings through the second serial port.
export PATH=/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t securityfs securityfs /sys/kernel/security
exec </dev/console >/dev/console 2>&1
stty -F /dev/ttyS1 raw
exec 3>/dev/ttyS1

# One finding a line: its name, then its value in base64; the first word tells it from what firmware writes there.
report() { echo "finding $1 $(printf %s "$2" | base64 -w 0)" >&3; }
report_file() { echo "finding $1 $(base64 -w 0 "$2")" >&3; }

echo >&3

# The resource manager's device: it gives each tool its objects and sessions, and flushes them behind it.
export TPM2TOOLS_TCTI=device:/dev/tpmrm0

report userspace "$(cat /proc/uptime)"
(. /job)
report exit_status $?
exec 3>&-
poweroff -f
