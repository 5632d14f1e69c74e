package engine

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime/debug"
	"unsafe"

	"github.com/keyfold/keyfold/internal/layout"
)

// codecPrefix begins the description of what a user's codec encodes.
const codecPrefix = "codec "

// A codec makes bytes of the values of one type, and values of bytes: as a user's Codec or
// a built-in layout says. It works on values where they lie, in memory of the engine's, so
// that nothing escapes by a call, and it does not name their type, so that there is one
// codec, and one of all that uses it, for all tables.
//
// Invariant: what it is given points to a value of its type.
type codec struct {
	name   string
	typ    reflect.Type
	append func(dst []byte, v unsafe.Pointer) ([]byte, error)
	decode func(src []byte, v unsafe.Pointer) error
	// pointerFree says that memory with values of the type need not be scanned.
	pointerFree bool
	// dense is the number of bytes if the encoding is the value as it lies in memory,
	// so that it can be copied; else 0.
	dense int
}

// An element is what a codec is made of: a type of a table, with the Codec that its Spec
// has for it.
type element struct {
	typ  reflect.Type
	user *userCodec // nil: the type is encoded as its layout says
}

// elementOf is the element of T.
func elementOf[T any](user Codec[T]) element {
	e := element{typ: reflect.TypeFor[T]()}
	if user != nil {
		e.user = &userCodec{
			name:   user.Name,
			append: func(dst []byte, v unsafe.Pointer) ([]byte, error) { return user.Append(dst, *(*T)(v)) },
			decode: func(src []byte, v unsafe.Pointer) error {
				var zero T
				*(*T)(v) = zero // what was there before must not show: a replay would not find it
				return user.Decode(src, (*T)(v))
			},
		}
	}
	return e
}

// A userCodec is a Codec of whatever type.
type userCodec struct {
	name   func() string
	append func(dst []byte, v unsafe.Pointer) ([]byte, error)
	decode func(src []byte, v unsafe.Pointer) error
}

func (e *element) keyCodec() (codec, error) {
	if e.user != nil {
		return e.userCodec("KeyCodec")
	}
	l, err := layout.KeyOf(e.typ)
	if err != nil {
		return codec{}, fmt.Errorf("key: %w", err)
	}
	return e.layoutCodec(l), nil
}

func (e *element) valueCodec(field string) (codec, error) {
	if e.user != nil {
		return e.userCodec(field)
	}
	l, err := layout.Of(e.typ)
	if err != nil {
		return codec{}, err // it says what to do
	}
	return e.layoutCodec(l), nil
}

func (e *element) layoutCodec(l *layout.Layout) codec {
	c := codec{
		name:        l.String(),
		typ:         e.typ,
		pointerFree: l.PointerFree(),
		append:      func(dst []byte, v unsafe.Pointer) ([]byte, error) { return l.Append(dst, v), nil },
		decode:      l.Decode,
	}
	if size, fixed := l.Size(); fixed && l.Dense() {
		c.dense = size
	}
	return c
}

func (e *element) userCodec(field string) (codec, error) {
	name, user := e.user.name(), e.user
	if name == "" || len(name) > nameBytesMax {
		return codec{}, fmt.Errorf("the %s needs a Name of 1 to %d bytes, not %q", field, nameBytesMax, name)
	}
	l, err := layout.Of(e.typ)
	return codec{
		name:        codecPrefix + name,
		typ:         e.typ,
		pointerFree: err == nil && l.PointerFree(),
		append:      user.appendTo,
		decode: func(src []byte, v unsafe.Pointer) (err error) {
			defer caught(&err)
			return user.decode(src, v)
		},
	}, nil
}

// appendTo appends by the user's codec. Whatever that returns besides an error, dst is
// still there.
func (u *userCodec) appendTo(dst []byte, v unsafe.Pointer) (longer []byte, err error) {
	defer func() {
		if err != nil {
			longer = dst
		}
	}()
	defer caught(&err)
	longer, err = u.append(dst, v)
	if err == nil && len(longer) < len(dst) {
		err = fmt.Errorf("keyfold: codec %q: Append returned %d bytes behind %d", u.name(), len(longer), len(dst))
	}
	if err == nil && len(dst) > 0 && &longer[0] != &dst[0] && !bytes.Equal(longer[:len(dst)], dst) {
		err = fmt.Errorf("keyfold: codec %q: Append returned something else than what it was given, and more", u.name())
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

// decodeValue makes v the value that src is the encoding of.
func (c *codec) decodeValue(src []byte, v unsafe.Pointer) error {
	if c.dense > 0 && len(src) == c.dense {
		copy(unsafe.Slice((*byte)(v), c.dense), src)
		return nil
	}
	return c.decode(src, v)
}

// renew is decodeValue into memory that was used before, of which nothing may show.
func (c *codec) renew(src []byte, v unsafe.Pointer) error {
	c.at(v).SetZero()
	return c.decodeValue(src, v)
}

// at is the value at v, for what is not done often.
func (c *codec) at(v unsafe.Pointer) reflect.Value { return reflect.NewAt(c.typ, v).Elem() }

// new makes a zero value.
func (c *codec) new() unsafe.Pointer { return reflect.New(c.typ).UnsafePointer() }

// show returns encoded bytes as text.
func (c *codec) show(encoded []byte) string {
	v := c.new()
	if err := c.decodeValue(encoded, v); err != nil {
		return fmt.Sprintf("%x", encoded)
	}
	return fmt.Sprint(c.at(v))
}
