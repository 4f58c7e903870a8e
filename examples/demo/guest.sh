# Runs in the guest at every boot, from the initramfs that the firmware has measured.
# The first boot seals a secret, every later one asks for it, before and after a change of PCR 7.
pcrs=sha256:0,1,2,3,4,5,7,9
object=0x81000100

for bank in sha1 sha256 sha384 sha512; do
    tpm2_pcrread $bank >/tmp/$bank || return
    report_file pcrs_$bank /tmp/$bank
done
report_file log /sys/kernel/security/tpm0/binary_bios_measurements

if ! tpm2_readpublic -Q -c $object 2>/dev/null; then
    tpm2_getrandom --hex 16 >/tmp/secret || return
    tpm2_createprimary -Q -C o -G ecc -c /tmp/primary || return
    tpm2_createpolicy -Q --policy-pcr -l $pcrs -L /tmp/policy || return
    tpm2_create -Q -C /tmp/primary -L /tmp/policy -a 'fixedtpm|fixedparent' -i /tmp/secret -c /tmp/sealed || return
    tpm2_evictcontrol -Q -C o -c /tmp/sealed $object || return
    report_file sealed /tmp/secret
else
    tpm2_unseal -c $object -p pcr:$pcrs >/tmp/unsealed || return
    report_file unsealed /tmp/unsealed
    tpm2_pcrextend 7:sha256=1111111111111111111111111111111111111111111111111111111111111111 || return
    tpm2_unseal -c $object -p pcr:$pcrs >/tmp/unsealed 2>/tmp/reason && return 1
    report_file refusal /tmp/reason
fi
