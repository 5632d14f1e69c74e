package engine

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"unsafe"

	"github.com/keyfold/keyfold/internal/layout"
)

// codecPrefix begins the description of what a user's codec encodes.
const codecPrefix = "codec "

// A codec is a user's Codec or a built-in layout, as the engine uses it: on values
// that are already in memory of its own, so that nothing escapes by a call.
type codec[T any] struct {
	name   string
	append func(dst []byte, v *T) ([]byte, error)
	decode func(src []byte, v *T) error
	// pointerFree says that memory with values of T need not be scanned.
	pointerFree bool
	// dense is the number of bytes if the encoding is the value as it lies in memory,
	// so that it can be copied; else 0.
	dense int
}

func keyCodec[K any](user Codec[K]) (codec[K], error) {
	if user != nil {
		return userCodec(user, "KeyCodec")
	}
	l, err := layout.KeyOf(reflect.TypeFor[K]())
	if err != nil {
		return codec[K]{}, fmt.Errorf("key: %w", err)
	}
	return layoutCodec[K](l), nil
}

func valueCodec[T any](user Codec[T], field string) (codec[T], error) {
	if user != nil {
		return userCodec(user, field)
	}
	l, err := layout.Of(reflect.TypeFor[T]())
	if err != nil {
		return codec[T]{}, err // it says what to do
	}
	return layoutCodec[T](l), nil
}

func layoutCodec[T any](l *layout.Layout) codec[T] {
	c := codec[T]{
		name:        l.String(),
		pointerFree: l.PointerFree(),
		append: func(dst []byte, v *T) ([]byte, error) {
			return l.Append(dst, unsafe.Pointer(v)), nil
		},
		decode: func(src []byte, v *T) error {
			return l.Decode(src, unsafe.Pointer(v))
		},
	}
	if size, fixed := l.Size(); fixed && l.Dense() {
		c.dense = size
	}
	return c
}

func userCodec[T any](user Codec[T], field string) (codec[T], error) {
	name := user.Name()
	if name == "" || len(name) > nameBytesMax {
		return codec[T]{}, fmt.Errorf("the %s needs a Name of 1 to %d bytes, not %q", field, nameBytesMax, name)
	}
	l, err := layout.Of(reflect.TypeFor[T]())
	return codec[T]{
		name:        codecPrefix + name,
		pointerFree: err == nil && l.PointerFree(),
		append:      func(dst []byte, v *T) ([]byte, error) { return appendUser(user, dst, *v) },
		decode: func(src []byte, v *T) (err error) {
			defer caught(&err)
			var zero T
			*v = zero // what was there before must not show: a replay would not find it
			return user.Decode(src, v)
		},
	}, nil
}

// appendUser appends by a user's codec. Whatever that returns besides an error, dst
// is still there.
func appendUser[T any](user Codec[T], dst []byte, v T) (longer []byte, err error) {
	defer func() {
		if err != nil {
			longer = dst
		}
	}()
	defer caught(&err)
	longer, err = user.Append(dst, v)
	if err == nil && len(longer) < len(dst) {
		err = fmt.Errorf("keyfold: codec %q: Append returned %d bytes behind %d", user.Name(), len(longer), len(dst))
	}
	return longer, err
}

// caught makes a panic of a user's codec an error: codecs also run on goroutines of
// the engine, where nobody else would catch it.
func caught(err *error) {
	if value := recover(); value != nil {
		*err = &PanicError{Value: value, Stack: debug.Stack()}
	}
}

// decodeValue sets v from src.
func (c *codec[T]) decodeValue(src []byte, v *T) error {
	if c.dense > 0 && len(src) == c.dense {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(v)), c.dense), src)
		return nil
	}
	return c.decode(src, v)
}
