package rival

import (
	"bufio"
	"strings"
	"testing"
)

func TestRepliesOfRedis(t *testing.T) {
	r := &respConn{in: bufio.NewReader(strings.NewReader(":42\r\n+OK\r\n$3\r\nabc\r\n$-1\r\n-ERR no\r\n$999999\r\n*1\r\n\n"))}
	for _, want := range []struct {
		text          string
		found, failed bool
	}{{"42", true, false}, {"OK", true, false}, {"abc", true, false}, {"", false, false}, {"", false, true}, {"", false, true}, {"", false, true}, {"", false, true}, {"", false, true}} {
		text, found, err := r.reply()
		if string(text) != want.text || found != want.found || (err != nil) != want.failed {
			t.Errorf("%q, %v, %v; want %+v", text, found, err, want)
		}
	}
	r.command("GET", "k")
	if string(r.out) != "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" {
		t.Errorf("%q", r.out)
	}
}
