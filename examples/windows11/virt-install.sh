#!/bin/sh
# Makes a VM like domain.xml with virt-install (4.0 or later), and starts the installation.
#   VTPM_WIN11_ISO=windows11.iso ./virt-install.sh
# The TPM comes first: vtpm create windows11; vtpm serve --owner libvirt-qemu
# Before the VM can boot from the ISO, somebody must press a key at its prompt.
set -eu
: "${VTPM_WIN11_ISO:?name the ISO that Windows 11 is installed from}"
name=${1:-windows11}
socket=${VTPM_RUN_DIR:-/run/vtpm}/$name.sock
[ -S "$socket" ] || {
    echo "no TPM at $socket: vtpm create $name, and vtpm serve --owner libvirt-qemu" >&2
    exit 1
}
firmware=uefi,loader.secure=yes
firmware=$firmware,firmware.feature0.name=secure-boot,firmware.feature0.enabled=yes
firmware=$firmware,firmware.feature1.name=enrolled-keys,firmware.feature1.enabled=yes

exec virt-install --name "$name" --osinfo win11 \
    --machine q35 --memory 4096 --vcpus 2 --cpu host-passthrough \
    --boot "$firmware" --features smm.state=on \
    --cdrom "$VTPM_WIN11_ISO" --disk size=64,bus=sata \
    --network network=default,model=e1000e --graphics vnc --video vga \
    --tpm none \
    --xml ./devices/tpm/@model=tpm-crb \
    --xml ./devices/tpm/backend/@type=external \
    --xml ./devices/tpm/backend/source/@type=unix \
    --xml ./devices/tpm/backend/source/@mode=connect \
    --xml "./devices/tpm/backend/source/@path=$socket"
