package rival

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// A respConn speaks as much of Redis' protocol as the job needs. A client library
// would do as well, but for the half core that its allocations take from a server on
// the same two cores. It must be used by one goroutine at a time.
type respConn struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	bulk []byte
}

func newRespConn(conn net.Conn) *respConn {
	return &respConn{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
}

// command adds a command to what send sends.
func (r *respConn) command(words ...string) {
	r.out = append(r.out, '*')
	r.out = strconv.AppendInt(r.out, int64(len(words)), 10)
	for _, w := range words {
		r.out = append(r.out, "\r\n$"...)
		r.out = strconv.AppendInt(r.out, int64(len(w)), 10)
		r.out = append(r.out, "\r\n"...)
		r.out = append(r.out, w...)
	}
	r.out = append(r.out, "\r\n"...)
}

func (r *respConn) send() error {
	_, err := r.conn.Write(r.out)
	r.out = r.out[:0]
	return err
}

// ask sends one command and returns its reply.
func (r *respConn) ask(words ...string) (string, error) {
	r.command(words...)
	if err := r.send(); err != nil {
		return "", err
	}
	text, _, err := r.reply()
	return string(text), err
}

// reply reads one reply that is no array. found is false for the null reply. The text
// is borrowed until the next one.
func (r *respConn) reply() (text []byte, found bool, err error) {
	line, err := r.in.ReadSlice('\n')
	if err != nil {
		return nil, false, err
	}
	if len(line) < 3 {
		return nil, false, errors.New("rival: redis sent an empty line")
	}
	head, rest := line[0], line[1:len(line)-2]
	switch head {
	case ':', '+':
		return rest, true, nil
	case '-':
		return nil, false, fmt.Errorf("rival: redis: %s", rest)
	case '$':
		return r.readBulk(string(rest))
	}
	return nil, false, fmt.Errorf("rival: redis sent %q", line)
}

// bulkBytesMax bounds a bulk reply: states and digests are short.
const bulkBytesMax = 1 << 10

func (r *respConn) readBulk(length string) ([]byte, bool, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n > bulkBytesMax {
		return nil, false, fmt.Errorf("rival: redis sent a bulk of %q bytes", length)
	}
	if n < 0 {
		return nil, false, nil
	}
	r.bulk = append(r.bulk[:0], make([]byte, n+2)...)
	_, err = io.ReadFull(r.in, r.bulk)
	return r.bulk[:n], true, err
}
