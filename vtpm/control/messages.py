"""
The messages of swtpm's control channel, as QEMU speaks it (swtpm, include/swtpm/tpm_ioctl.h).

A request is a UINT32 command code and a body.
A response begins with a TPM_RESULT and does not repeat the code.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Annotated, Any, ClassVar, Final

from vtpm.wire.codec import Codec, take
from vtpm.wire.flags import Bit, Flags
from vtpm.wire.integers import UINT8, UINT32, UINT64, Constant
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Octets

MAX_STATE_BLOB: Final = 512 * 1024
"""The largest state blob in octets, the same limit as swtpm's and QEMU's."""

MAX_INFO_PART: Final = 3 * 1024
"""The most octets of text in one response to GET_INFO."""


class CMD(Constant):
    """The commands of the control channel"""

    GET_CAPABILITY = 0x01
    INIT = 0x02
    SHUTDOWN = 0x03
    GET_TPMESTABLISHED = 0x04
    SET_LOCALITY = 0x05
    HASH_START = 0x06
    HASH_DATA = 0x07
    HASH_END = 0x08
    CANCEL_TPM_CMD = 0x09
    STORE_VOLATILE = 0x0A
    RESET_TPMESTABLISHED = 0x0B
    GET_STATEBLOB = 0x0C
    SET_STATEBLOB = 0x0D
    STOP = 0x0E
    GET_CONFIG = 0x0F
    SET_DATAFD = 0x10
    SET_BUFFERSIZE = 0x11
    GET_INFO = 0x12
    LOCK_STORAGE = 0x13


class TPM_RESULT(Constant):  # noqa: N801 - the protocol's name
    """The results on the control channel: codes of TPM 1.2, for a TPM 2.0 as well"""

    SUCCESS = 0x000
    BAD_PARAMETER = 0x003
    FAIL = 0x009
    BAD_ORDINAL = 0x00A
    KEYNOTFOUND = 0x00D
    SIZE = 0x011
    IOERROR = 0x01F
    BAD_LOCALITY = 0x03D
    RETRY = 0x800


class PTM_BLOB_TYPE(Constant):  # noqa: N801 - the protocol's name
    """The kinds of state that can be read and set"""

    PERMANENT = 1
    VOLATILE = 2
    SAVESTATE = 3


class PTM_CAP(Flags, octets=4):  # noqa: N801 - the protocol's name
    """What the server can do"""

    INIT = Bit(0)
    SHUTDOWN = Bit(1)
    GET_TPMESTABLISHED = Bit(2)
    SET_LOCALITY = Bit(3)
    HASHING = Bit(4)
    CANCEL_TPM_CMD = Bit(5)
    STORE_VOLATILE = Bit(6)
    RESET_TPMESTABLISHED = Bit(7)
    GET_STATEBLOB = Bit(8)
    SET_STATEBLOB = Bit(9)
    STOP = Bit(10)
    GET_CONFIG = Bit(11)
    SET_DATAFD = Bit(12)
    SET_BUFFERSIZE = Bit(13)
    GET_INFO = Bit(14)
    SEND_COMMAND_HEADER = Bit(15)
    LOCK_STORAGE = Bit(16)


INIT_DELETE_VOLATILE: Final = 1
"""In INIT's flags: remove the stored volatile state once it has been read."""

STATE_DECRYPTED: Final = 1
"""In the flags of GET_STATEBLOB: the client wants plain octets."""

STATE_ENCRYPTED: Final = 2
"""In the flags of a blob: its octets are encrypted."""

CONFIG_FILE_KEY: Final = 1
"""In the flags of GET_CONFIG: the stored state is encrypted."""

CONFIG_MIGRATION_KEY: Final = 2
"""In the flags of GET_CONFIG: state blobs are encrypted."""

CODE = struct.Struct(">I")


class Sized32(Codec):
    """A UINT32 length, then that many octets."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002 - how a construct is written
        (count,) = CODE.unpack(take(stream, CODE.size))
        return take(stream, count)

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002 - as above
        stream.write(CODE.pack(len(obj)) + obj)
        return obj


BLOB32 = Annotated[bytes, Sized32()]


class Request:
    """A request; `command` says which."""

    __slots__ = ()
    command: ClassVar[CMD]


@structure
class GetCapability(Request):
    """What can the server do?"""

    command = CMD.GET_CAPABILITY


@structure
class Init(Request):
    """Power the TPM on (_TPM_Init), with the stored volatile state if there is any."""

    command = CMD.INIT
    init_flags: UINT32


@structure
class Shutdown(Request):
    """End the TPM's run and the connection."""

    command = CMD.SHUTDOWN


@structure
class GetTpmEstablished(Request):
    """Has a dynamic root of trust been measured?"""

    command = CMD.GET_TPMESTABLISHED


@structure
class SetLocality(Request):
    """The locality of the commands that follow."""

    command = CMD.SET_LOCALITY
    loc: UINT8


@structure
class HashStart(Request):
    """_TPM_Hash_Start."""

    command = CMD.HASH_START


@structure
class HashData(Request):
    """_TPM_Hash_Data with a part of the octets announced; the response is due once none remain."""

    command = CMD.HASH_DATA
    remaining: UINT32
    data: BLOB32


@structure
class HashEnd(Request):
    """_TPM_Hash_End."""

    command = CMD.HASH_END


@structure
class CancelTpmCmd(Request):
    """Cancel the command that is running, if it can be canceled."""

    command = CMD.CANCEL_TPM_CMD


@structure
class StoreVolatile(Request):
    """Make the volatile state durable: the next INIT resumes from it."""

    command = CMD.STORE_VOLATILE


@structure
class ResetTpmEstablished(Request):
    """Clear the established bit, at a locality of 3 or 4."""

    command = CMD.RESET_TPMESTABLISHED
    loc: UINT8


@structure
class GetStateBlob(Request):
    """Read a state blob from `offset` to its end."""

    command = CMD.GET_STATEBLOB
    state_flags: UINT32
    type: UINT32
    offset: UINT32


@structure
class SetStateBlob(Request):
    """Give the state from which the next INIT starts."""

    command = CMD.SET_STATEBLOB
    state_flags: UINT32
    type: UINT32
    data: BLOB32


@structure
class Stop(Request):
    """Power the TPM off; the connection stays."""

    command = CMD.STOP


@structure
class GetConfig(Request):
    """Which keys protect the state?"""

    command = CMD.GET_CONFIG


@structure
class SetDataFd(Request):
    """Use the descriptor that came with this request (SCM_RIGHTS) for TPM commands."""

    command = CMD.SET_DATAFD


@structure
class SetBufferSize(Request):
    """Set the largest command and response in octets; 0 asks for the present value."""

    command = CMD.SET_BUFFERSIZE
    buffersize: UINT32


@structure
class GetInfo(Request):
    """Describe the TPM, in JSON; `flags` chooses the parts."""

    command = CMD.GET_INFO
    flags: UINT64
    offset: UINT32
    pad: UINT32


@structure
class LockStorage(Request):
    """Take the lock on the stored state, with `retries` further attempts 10 ms apart."""

    command = CMD.LOCK_STORAGE
    retries: UINT32


@structure
class Malformed(Request):
    """A request of a known command that can only be answered by `tpm_result`; the command is in `code`."""

    code: UINT32
    tpm_result: UINT32


@structure
class Result:
    """The response that is only a result."""

    tpm_result: UINT32


@structure
class Capability:
    """The response to GET_CAPABILITY."""

    tpm_result: UINT32
    caps: PTM_CAP


@structure
class Established:
    """The response to GET_TPMESTABLISHED."""

    tpm_result: UINT32
    bit: UINT8
    pad: Annotated[bytes, Octets(3)]


@structure
class StateBlob:
    """The response to GET_STATEBLOB: all octets from the offset asked for, which `totlength` counts."""

    tpm_result: UINT32
    state_flags: UINT32
    totlength: UINT32
    data: BLOB32


@structure
class Config:
    """The response to GET_CONFIG."""

    tpm_result: UINT32
    flags: UINT32


@structure
class BufferSize:
    """The response to SET_BUFFERSIZE."""

    tpm_result: UINT32
    buffersize: UINT32
    minsize: UINT32
    maxsize: UINT32


@structure
class Info:
    """The response to GET_INFO: a part of the text, which has `totlength` octets with its final zero."""

    tpm_result: UINT32
    totlength: UINT32
    text: BLOB32


REQUESTS: Mapping[int, type[Request]] = {
    kind.command: kind for kind in Request.__subclasses__() if hasattr(kind, "command")
}
"""The structure of each command's body."""

SUCCESS = Result(TPM_RESULT.SUCCESS)
