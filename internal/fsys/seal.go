package fsys

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/zeebo/xxh3"
)

// A sealed file is a small file that is replaced as a whole and checked as a
// whole. Integers are little-endian.
//
//	offset  size  field    meaning
//	     0     8  magic    "kfsealed"
//	     8     8  kind     what the file is, ASCII, filled up with zeros
//	    16     4  version  of the payload's format; never 0
//	    20     4  length   of the payload in bytes; the file ends 8 bytes behind it
//	    24     n  payload
//	  24+n     8  hash     xxh3 of all before
const (
	sealMagic      = "kfsealed"
	sealKind       = 8
	sealVersion    = 16
	sealLength     = 20
	sealPayload    = 24
	sealHashBytes  = 8
	sealKindBytes  = sealVersion - sealKind
	sealExtraBytes = sealPayload + sealHashBytes
)

// ErrDamaged is matched by the error of ReadSealed for a file whose bytes are not
// those that were written. The error is a *[DamageError].
var ErrDamaged = errors.New("fsys: damaged file")

// ErrFormat is matched by the error of ReadSealed for a whole file with a format
// version that is newer than the one asked for.
var ErrFormat = errors.New("fsys: format of a newer version")

// DamageError is returned by ReadSealed and says where a file is not what it
// should be. It matches [ErrDamaged].
type DamageError struct {
	Path   string
	Offset int64 // of the field that is wrong
	Reason string
}

// Error names the file and the offset.
func (e *DamageError) Error() string {
	return fmt.Sprintf("fsys: %s is damaged at offset %d: %s", e.Path, e.Offset, e.Reason)
}

// Unwrap returns ErrDamaged.
func (e *DamageError) Unwrap() error { return ErrDamaged }

// WriteSealed replaces name by payload under a seal, as [ReplaceFile] does. The
// kind is 1 to 8 bytes of ASCII that tell the files of a store apart; version is
// not 0.
func WriteSealed(fs FS, name, kind string, version uint32, payload []byte) error {
	sealed, err := seal(kind, version, payload)
	if err != nil {
		return fmt.Errorf("fsys: write %s: %w", name, err)
	}
	return ReplaceFile(fs, name, sealed)
}

func seal(kind string, version uint32, payload []byte) ([]byte, error) {
	if err := checkKind(kind, version); err != nil {
		return nil, err
	}
	if uint64(len(payload)) > math.MaxUint32 {
		return nil, errTooLarge
	}
	b := make([]byte, sealPayload, len(payload)+sealExtraBytes)
	copy(b, sealMagic)
	copy(b[sealKind:], kind)
	binary.LittleEndian.PutUint32(b[sealVersion:], version)
	binary.LittleEndian.PutUint32(b[sealLength:], uint32(len(payload)))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint64(b, xxh3.Hash(b)), nil
}

func checkKind(kind string, version uint32) error {
	if len(kind) == 0 || len(kind) > sealKindBytes || bytes.IndexByte([]byte(kind), 0) >= 0 || version == 0 {
		return fmt.Errorf("kind %q in version %d cannot be sealed", kind, version)
	}
	return nil
}

// ReadSealed reads what WriteSealed wrote: its payload, and the version it was
// written in, which is at most version. A file larger than payloadMax bytes and
// their seal, one of another kind, and one with any byte changed match
// [ErrDamaged]; a newer version matches [ErrFormat]; a missing file matches
// os.ErrNotExist.
func ReadSealed(fs FS, name, kind string, version uint32, payloadMax int64) (payload []byte, found uint32, err error) {
	if err := checkKind(kind, version); err != nil {
		return nil, 0, fmt.Errorf("fsys: read %s: %w", name, err)
	}
	data, err := ReadFile(fs, name, payloadMax+sealExtraBytes)
	if errors.Is(err, errTooLarge) {
		return nil, 0, &DamageError{Path: name, Offset: payloadMax + sealExtraBytes, Reason: err.Error()}
	}
	if err != nil {
		return nil, 0, err
	}
	payload, found, damage := unseal(data, kind)
	if damage != nil {
		damage.Path = name
		return nil, 0, damage
	}
	if found > version {
		return nil, 0, fmt.Errorf("%w: %s has version %d of its format, this program knows up to %d: "+
			"open it with a newer release", ErrFormat, name, found, version)
	}
	return payload, found, nil
}

// unseal judges the hash before the version, so that a flipped bit is never taken
// for a file of the future.
func unseal(data []byte, kind string) (payload []byte, version uint32, damage *DamageError) {
	damaged := func(offset int, format string, args ...any) ([]byte, uint32, *DamageError) {
		return nil, 0, &DamageError{Offset: int64(offset), Reason: fmt.Sprintf(format, args...)}
	}
	if len(data) < sealExtraBytes {
		return damaged(len(data), "the file ends here, within its header")
	}
	if string(data[:sealKind]) != sealMagic {
		return damaged(0, "magic is %q", data[:sealKind])
	}
	if found := kindOf(data); found != kind {
		return damaged(sealKind, "kind is %q, not %q", found, kind)
	}
	end := len(data) - sealHashBytes
	if n := binary.LittleEndian.Uint32(data[sealLength:]); uint64(n) != uint64(end-sealPayload) {
		return damaged(sealLength, "length is %d, %d bytes are there", n, end-sealPayload)
	}
	if binary.LittleEndian.Uint64(data[end:]) != xxh3.Hash(data[:end]) {
		return damaged(end, "the hash is wrong")
	}
	version = binary.LittleEndian.Uint32(data[sealVersion:])
	if version == 0 {
		return damaged(sealVersion, "version is 0")
	}
	return data[sealPayload:end], version, nil
}

func kindOf(data []byte) string {
	return string(bytes.TrimRight(data[sealKind:sealVersion], "\x00"))
}
