#!/bin/sh
# What Windows 11 asks of a TPM, asked inside of a Linux guest: a dress rehearsal before Windows is installed.
#   check.sh    as root, with tpm2-tools 5; the status is 1 if a line failed
# Lines are those of `vtpm check windows11`, and what can be seen from inside alone: firmware, its tables, its log.
# Keys are made under the TPM's own and forgotten; a counter in NV is defined, and removed.
# shellcheck disable=SC2317 # the functions are called by their names, which stand at the end

export TPM2TOOLS_TCTI="${TPM2TOOLS_TCTI:-device:/dev/tpm0}"
srk=0x81000001
ek=0x81010001
ek_certificate=0x01c00002
counter=0x01500000
tpm=${SYSFS:-/sys}/class/tpm/tpm0
tables=${SYSFS:-/sys}/firmware/acpi/tables
log=${SYSFS:-/sys}/kernel/security/tpm0/binary_bios_measurements
variables=${SYSFS:-/sys}/firmware/efi/efivars
secure_boot=$variables/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
another_profile='on the host: vtpm profile migrate VM pc-client'
clear="clear the TPM in the guest's firmware"

windows_uses="Startup Shutdown SelfTest GetTestResult StartAuthSession PolicyRestart Create Load ReadPublic
    ActivateCredential Unseal ObjectChangeAuth Duplicate Import RSA_Decrypt Hash GetRandom StirRandom Certify
    CertifyCreation Quote Sign PCR_Extend PCR_Event PCR_Read PCR_Reset PolicySecret PolicyOR PolicyPCR PolicyNV
    PolicyCommandCode PolicyAuthValue PolicyGetDigest CreatePrimary HierarchyControl Clear ClearControl
    HierarchyChangeAuth DictionaryAttackLockReset DictionaryAttackParameters ContextSave ContextLoad FlushContext
    EvictControl ReadClock ClockSet GetCapability NV_DefineSpace NV_UndefineSpace NV_ReadPublic NV_Write
    NV_Increment NV_Read NV_ChangeAuth"
recommended="LoadExternal MakeCredential HashSequenceStart SequenceUpdate SequenceComplete EventSequenceComplete
    VerifySignature PolicySigned PolicyTicket PolicyCounterTimer PolicyCpHash PolicyNameHash
    PolicyDuplicationSelect PolicyAuthorize PolicyPassword"
algorithms="rsa sha1 hmac aes mgf1 keyedhash xor sha256 rsassa rsaes rsapss oaep ecdsa ecdh kdf1_sp800_56a
    kdf1_sp800_108 ecc symcipher cfb"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
failed=0

# A function prints what it found; it returns 0 passed, 1 failed, 2 advice.
check() { # WHO NAME REMEDY FUNCTION
    found=$("$4" 2>"$work/said") && verdict=passed || case $? in 2) verdict=advice ;; *) verdict=failed ;; esac
    if [ "$verdict" = failed ]; then
        failed=1
        said=$(grep -m 1 -E 'ERROR|cannot|No such|not found' "$work/said") && found="${found:+$found; }$said"
    fi
    printf '%-11s  %s: %s: %s\n' "$verdict" "$1" "$2" "$found"
    [ "$verdict" = passed ] || printf '%-11s  -> %s\n' '' "$3"
    tpm2_flushcontext -Q -t; tpm2_flushcontext -Q -l
}

fixed() { tpm2_getcap properties-fixed | sed -n "/^TPM2_PT_$1:/,/^TPM2/s/^ *$2: *//p" | tr -d '"' | head -n 1; }
variable() { tpm2_getcap properties-variable | sed -n "s/^ *\(TPM2_PT_\)\{0,1\}$1: *//p" | head -n 1; }
hex() { od -An -v -tx1 "$@" | tr -d ' \n'; }
missing_of() { # LIST FILE: the words of a list that are no line of a file
    for word in $1; do grep -qx "$word" "$2" || printf ' %s' "$word"; done
}

version() {
    printf '%s, %s, %s' "$(fixed FAMILY_INDICATOR value)" "$(fixed LEVEL raw)" "$(fixed REVISION value)"
    [ "$(fixed FAMILY_INDICATOR value)" = 2.0 ] && [ "$(cat "$tpm/tpm_version_major")" = 2 ]
}
acpi() {
    # The device itself is ACPI's for a CRB, and a platform's with one of ACPI's behind it for a TIS.
    name=$(cat "$tpm/device/hid" "$tpm/device/firmware_node/hid" 2>/dev/null)
    [ -n "$name" ] || { echo "the TPM is no device of ACPI's"; return 1; }
    start=$(hex -j 48 -N 4 "$tables/TPM2")
    printf '%s, start method %s' "$name" "$start"
    [ "$name" = MSFT0101 ] && { [ "$start" = 06000000 ] || [ "$start" = 07000000 ]; }
}
secure_boot() {
    [ -e "$secure_boot" ] || { echo "no efivarfs at $variables, or no UEFI"; return 1; }
    case $(hex "$secure_boot") in
    ????????01) echo on ;; # behind four octets of attributes
    *) echo "off, which setup accepts and BitLocker seals to PCR 0, 2, 4 and 11 for"; return 2 ;;
    esac
}
responds() {
    tpm2_selftest --fulltest || return
    case $(tpm2_gettestresult | head -n 1) in *success*) ;; *) echo "its self test failed"; return 1 ;; esac
    [ "$(tpm2_getrandom --hex 16)" != "$(tpm2_getrandom --hex 16)" ] || { echo "it repeats itself"; return 1; }
    echo "self test passed"
}
manufacturer() {
    printf '%s %s' "$(fixed MANUFACTURER value)" "$(fixed FIRMWARE_VERSION_1 raw)"
    [ -n "$(fixed MANUFACTURER value)" ]
}
platform() {
    kind=$(fixed PS_FAMILY_INDICATOR raw)
    [ "$((kind))" = 1 ] && echo PC || { echo "the platform's specification is $kind"; return 2; }
}
enabled() {
    echo "storage $(variable shEnable), endorsement $(variable ehEnable)"
    [ "$(variable shEnable)$(variable ehEnable)" = 11 ]
}
ready() {
    echo "owner authorization $(variable ownerAuthSet), endorsement $(variable endorsementAuthSet)"
    [ "$(variable ownerAuthSet)$(variable endorsementAuthSet)" = 00 ]
}
not_locked_out() {
    echo "$(($(variable LOCKOUT_COUNTER))) of $(($(variable MAX_AUTH_FAIL))) failed authorizations"
    [ "$(variable inLockout)" = 0 ]
}
can_be_cleared() {
    [ "$(variable disableClear)" = 0 ] && echo "TPM2_Clear is allowed" || { echo "it is disabled"; return 2; }
}
measured() {
    tpm2_pcrread sha256:0,1,2,3,4,5,6,7 >pcr || return
    empty=$(sed -n 's/^ *\([0-9]*\) *: 0x0*$/\1/p' pcr | tr '\n' ' ')
    [ "$(grep -c ': 0x' pcr)" = 8 ] || { echo "there is no SHA-256 bank"; return 1; }
    [ -z "$empty" ] && echo "PCR 0 to 7" || { echo "PCR $empty are zero"; return 1; }
}
bank() {
    tpm2_getcap pcrs >pcrs || return
    tr -d ' ' <pcrs | grep '^-.*:\[[0-9]' | sed 's/^-\(.*\):.*/\1/' | tr '\n' ' '
    grep -q 'sha256: \[ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 \]' pcrs
}
commands() { tpm2_getcap commands | sed -n 's/^TPM2_CC_\(.*\):$/\1/p' >commands; }
used_commands() {
    commands
    lacks=$(missing_of "$windows_uses" commands)
    [ -z "$lacks" ] && echo all || { echo "missing:$lacks"; return 1; }
}
recommended_commands() {
    commands
    lacks=$(missing_of "$recommended" commands)
    [ -z "$lacks" ] && echo all || { echo "missing:$lacks"; return 2; }
}
needed_algorithms() {
    tpm2_getcap algorithms | sed -n 's/^\([a-z0-9_]*\):$/\1/p' >algorithms
    tpm2_getcap ecc-curves | sed -n 's/^TPM2_ECC_\([A-Z0-9_]*\):.*/\1/p' >curves
    lacks=$(missing_of "$algorithms" algorithms)$(missing_of NIST_P256 curves)
    [ -z "$lacks" ] && echo "all, and NIST_P256" || { echo "missing:$lacks"; return 1; }
}
curves() {
    tpm2_getcap ecc-curves | grep -q NIST_P521 || { echo "NIST_P521 is not advertised"; return 0; }
    echo "NIST_P521 is advertised; Windows itself does not mind"
    return 2
}
is_there() { # HANDLES HANDLE
    for handle in $(tpm2_getcap "$1" | tr -d ' -'); do [ "$((handle))" = "$(($2))" ] && return 0; done
    return 1
}
storage_root_key() {
    is_there handles-persistent $srk || { echo "no storage root key yet: Windows makes it"; return 0; }
    tpm2_readpublic -c $srk >srk || return
    echo "$(sed -n '/^type/,/value/s/ *value: *//p' srk) at $srk"
    grep -q restricted srk && grep -q decrypt srk
}
endorsement_key() {
    tpm2_createek -Q -G rsa -c ek.context -u ek.public || return
    tpm2_readpublic -Q -c ek.context -n made || return
    is_there handles-persistent $ek || { echo "as the template makes it; not yet persistent"; return 0; }
    tpm2_readpublic -Q -c $ek -n kept || return
    cmp -s made kept && echo "$ek, as the template makes it" || { echo "$ek is another key"; return 1; }
}
certificate() {
    is_there handles-nv-index $ek_certificate || { echo "there is none at $ek_certificate"; return 1; }
    tpm2_nvread -o certificate $ek_certificate || return
    tpm2_createek -Q -G rsa -c ek.context -u ek.public || return
    modulus=$(tpm2_readpublic -c ek.context | sed -n 's/^rsa: *//p')
    case $(hex certificate) in
    *"$modulus"*) echo "for the endorsement key, $(wc -c <certificate) octets" ;;
    *) echo "it is for another key than the one in the TPM"; return 1 ;;
    esac
}
ecc_certificate() {
    is_there handles-nv-index 0x01c00016 && echo "at 0x01c00016" || echo "none, which Windows does not mind"
}
make_parent() { # its context, or its handle, in $parent
    parent=$srk
    is_there handles-persistent $srk && return
    parent=parent.context
    tpm2_createprimary -Q -C o -g sha256 -G rsa2048:null:aes128cfb -c $parent
}
make_attestation_key() {
    make_parent || return
    tpm2_create -Q -C $parent -G rsa2048:rsassa-sha1:null -u aik.public -r aik.private -d creation -t ticket \
        -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign' || return
    tpm2_flushcontext -Q -t
    tpm2_load -Q -C $parent -u aik.public -r aik.private -c aik.context -n aik.name
    tpm2_flushcontext -Q -t
}
attestation() {
    make_attestation_key || return
    tpm2_certifycreation -Q -C aik.context -c aik.context -d creation -t ticket -g sha1 -f plain \
        -o signature --attestation attested || return
    tpm2_flushcontext -Q -t
    tpm2_verifysignature -Q -c aik.context -g sha1 -m attested -f rsassa -s signature || return
    echo "RSASSA with SHA-1 certifies its own creation"
}
activation() {
    make_attestation_key || return
    head -c 20 /dev/urandom >credential
    tpm2_createek -Q -G rsa -c ek.context -u ek.public || return
    tpm2_makecredential -Q -T none -u ek.public -s credential -n "$(hex aik.name)" -o sent ||
        tpm2_makecredential -Q -e ek.public -s credential -n "$(hex aik.name)" -o sent || return
    tpm2_flushcontext -Q -t
    tpm2_startauthsession -Q --policy-session -S session && tpm2_policysecret -Q -S session -c e || return
    tpm2_activatecredential -Q -c aik.context -C ek.context -i sent -o opened -P session:session || return
    tpm2_flushcontext -Q session
    cmp -s credential opened && echo "a credential for the attestation key is opened with the EK"
}
policy_of_bitlocker() { # OPTION...: a session that has shown the state, and that a PIN follows
    tpm2_startauthsession -Q "$@" -S session && tpm2_policyauthvalue -Q -S session &&
        tpm2_policypcr -Q -S session -l sha256:7,11 -L policy
}
unseal_with() { # PIN
    policy_of_bitlocker --policy-session || return
    tpm2_unseal -c sealed.context -p "session:session+$1" >unsealed
    status=$?
    tpm2_flushcontext -Q session
    tpm2_flushcontext -Q -t
    return $status
}
seal() {
    make_parent || return
    policy_of_bitlocker || return
    tpm2_flushcontext -Q session
    head -c 44 /dev/urandom >key
    tpm2_create -Q -C $parent -i key -u sealed.public -r sealed.private -L policy -p 12345678 \
        -a 'fixedtpm|fixedparent|noda' || return
    tpm2_flushcontext -Q -t
    tpm2_load -Q -C $parent -u sealed.public -r sealed.private -c sealed.context || return
    tpm2_flushcontext -Q -t
    unseal_with 12345678 || return
    cmp -s key unsealed || { echo "what was sealed came back changed"; return 1; }
    unseal_with 87654321 2>/dev/null && { echo "it opens without the PIN"; return 1; }
    echo "sealed, unsealed, refused with another PIN"
}
counts() {
    tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite|no_da|nt=counter' $counter || return
    tpm2_nvincrement -Q -C o $counter && first=$(tpm2_nvread -C o $counter | hex)
    tpm2_nvincrement -Q -C o $counter && second=$(tpm2_nvread -C o $counter | hex)
    tpm2_nvundefine -Q -C o $counter
    [ "$((0x$second))" = "$((0x$first + 1))" ] && echo "it counts"
}
log_found() {
    [ -e "$log" ] || { echo "there is none at $log"; return 1; }
    tpm2_eventlog "$log" >events || return
    echo "$(grep -c EventNum events) events"
}
log_matches() {
    tpm2_eventlog "$log" >events || return
    # After "pcrs:" come the values that the events lead to.
    sed -n '/^pcrs:/,$p' events | sed -n '/^  sha256:/,/^  s.*[^6]:$/s/^ *\([0-9]*\) *: 0x\(.*\)/\1 \2/p' >logged
    [ -s logged ] || { echo "the log has no SHA-256 bank"; return 1; }
    tpm2_pcrread sha256 | sed -n 's/^ *\([0-9]*\) *: 0x\(.*\)/\1 \2/p' | tr A-F a-f >values
    lacks=
    while read -r line; do grep -qx "$line" values || lacks="$lacks ${line%% *}"; done <logged
    [ -z "$lacks" ] && echo "$(wc -l <logged) PCR" || { echo "not explained: PCR$lacks"; return 1; }
}
log_of_secure_boot() {
    tpm2_eventlog "$log" >events || return
    # The variable is measured as one octet of data.
    sed -n '/UnicodeName: SecureBoot/,/VariableData:/p' events | grep -q 'VariableData: "01"\|Enabled: .Yes' ||
        { echo "it says that Secure Boot is off"; return 2; }
    vouched=$(grep -c EV_EFI_VARIABLE_AUTHORITY events)
    started=$(grep -c EV_EFI_BOOT_SERVICES_APPLICATION events)
    echo "on, $started programs started, vouched for by $vouched entries"
    [ "$vouched" -gt 0 ] && [ "$started" -gt 0 ]
}

setup='Windows setup, PC Health Check'
health='pre-attestation health check'
check "$setup" 'TPM 2.0' 'Windows 11 needs a TPM 2.0: vtpm create' version
check "$setup" 'the TPM responds' "reset the VM; if that does not help, look into the daemon's log" responds
check "$setup" 'device of ACPI' 'give the VM -device tpm-crb or tpm-tis, and firmware that knows it' acpi
check "$setup" 'Secure Boot' "boot with OVMF that has Microsoft's keys; mount -t efivarfs efivarfs $variables" secure_boot
check Get-Tpm 'manufacturer' "$another_profile" manufacturer
check Get-Tpm 'a PC Client TPM' "$another_profile" platform
check Get-Tpm 'enabled' 'reset the VM; firmware that disables the TPM must be set to enable it' enabled
check Get-Tpm 'ready' "$clear" ready
check Get-Tpm 'not locked out' 'on the host: vtpm lockout-reset VM' not_locked_out
check Get-Tpm 'can be cleared' 'tpm2_clearcontrol -C p c, or in the firmware' can_be_cleared
check tpmtool 'ready for storage' "$clear" storage_root_key
check tpmtool 'endorsement key' "$clear" endorsement_key
check "$health" 'EK certificate' 'on the host: vtpm ek renew VM' certificate
check tpmtool 'ECC EK certificate' 'on the host: vtpm ek renew VM' ecc_certificate
check tpmtool 'capable of attestation' 'see that no policy of the host forbids SHA-1 signatures' attestation
check tpmtool 'ready for attestation' "$clear" activation
check "$health" 'PCR hold measurements' 'boot with UEFI firmware that measures: OVMF with TPM support' measured
check "$health" 'event log' 'mount -t securityfs securityfs /sys/kernel/security' log_found
check "$health" 'PCR match the event log' 'reset the VM; firmware and TPM must have the same banks' log_matches
check BitLocker 'Secure Boot in the event log' "boot with OVMF that has Microsoft's keys" log_of_secure_boot
check BitLocker 'SHA-256 bank' 'activate it in the firmware, or on the host: vtpm create VM --banks sha256' bank
check BitLocker 'seals to PCR 7 and 11' "$clear" seal
check HLK 'commands that Windows uses' "$another_profile" used_commands
check HLK 'recommended commands' "$another_profile" recommended_commands
check HLK 'algorithms' "$another_profile" needed_algorithms
check HLK 'no curve that its tests stumble on' 'for HLK, a profile file without the curve NIST_P521' curves
check HLK 'counter in NV' "$clear" counts
exit $failed
