# What Windows says of its TPM, told as one line at the first serial port: windows11 PHASE BASE64-OF-JSON.
#   check.ps1                turns BitLocker on with the TPM, tells the first facts, and restarts
#   check.ps1 -Phase second  runs by itself after the restart: tells the facts again, and shuts down
#   check.ps1 -Print         prints the facts in the window, and changes nothing
param([string]$Phase = 'first', [switch]$Print)

$patience = 60  # seconds in which the host looks at the TPM from outside, before power goes
$facts = [ordered]@{}
$errors = [ordered]@{}

function Add-Fact([string]$Name, [scriptblock]$Ask) {
    try { $facts[$Name] = & $Ask } catch { $errors[$Name] = "$_" }
}

function Get-Facts {
    Add-Fact 'secure_boot' { Confirm-SecureBootUEFI }
    Add-Fact 'spec_version' {
        (Get-CimInstance -Namespace 'root/cimv2/Security/MicrosoftTpm' -ClassName Win32_Tpm).SpecVersion
    }
    $tpm = Get-Tpm
    foreach ($name in 'TpmPresent', 'TpmReady', 'TpmEnabled', 'TpmActivated', 'TpmOwned', 'LockedOut',
                      'LockoutCount', 'LockoutMax', 'ManufacturerIdTxt', 'ManufacturerVersionFull20') {
        Add-Fact $name { $tpm.$name }.GetNewClosure()
    }
    Add-Fact 'ek_present' { (Get-TpmEndorsementKeyInfo -HashAlgorithm sha256).IsPresent }
    Add-Fact 'ek_certificates' {
        $key = Get-TpmEndorsementKeyInfo -HashAlgorithm sha256
        @($key.ManufacturerCertificates).Count + @($key.AdditionalCertificates).Count
    }
    Add-Fact 'key_attestation' { "$(Get-TpmSupportedFeature -FeatureList 'key attestation')" }
    Add-Fact 'tpmtool' { (& tpmtool.exe getdeviceinformation | Out-String).Trim() }
    Add-Fact 'protection' { "$((Get-BitLockerVolume -MountPoint 'C:').ProtectionStatus)" }
    Add-Fact 'protectors' {
        @((Get-BitLockerVolume -MountPoint 'C:').KeyProtector | ForEach-Object { "$($_.KeyProtectorType)" })
    }
    [ordered]@{ facts = $facts; errors = $errors }
}

function Send-Line([string]$Line) {
    $port = New-Object System.IO.Ports.SerialPort 'COM1', 115200
    $port.Open()
    try { $port.Write($Line + "`n") } finally { $port.Close() }
}

function Send-Facts([string]$Name) {
    $json = Get-Facts | ConvertTo-Json -Depth 4 -Compress
    Send-Line ('windows11 {0} {1}' -f $Name, [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($json)))
}

if ($Print) {
    Get-Facts | ConvertTo-Json -Depth 4
    exit
}
if ($Phase -eq 'second') {
    Send-Facts 'second'
    Start-Sleep $patience
    Stop-Computer -Force
    exit
}
Add-Fact 'enabled' {
    Enable-BitLocker -MountPoint 'C:' -TpmProtector -UsedSpaceOnly -SkipHardwareTest -ErrorAction Stop | Out-Null
    'yes'
}
while ((Get-BitLockerVolume -MountPoint 'C:').VolumeStatus -eq 'EncryptionInProgress') { Start-Sleep 5 }
Send-Facts 'first'
$own = 'C:\check.ps1'
Copy-Item $PSCommandPath $own
$again = "powershell.exe -NoProfile -ExecutionPolicy Bypass -File $own -Phase second"
Set-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce' 'check' $again
Start-Sleep $patience
Restart-Computer -Force
