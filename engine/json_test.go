package engine

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const flightLine = `{"date":"2001-01-01T00:01:00Z","delay":33,"distance":2176,"origin":"LAS","destination":"PHL"}`

type flight struct{ At, Delay, Distance int64 }

func newFlights() *JSON[string, flight] {
	return NewJSON(func(l *Line) (string, flight, error) {
		route := l.AppendText(make([]byte, 0, 16), "origin")
		route = l.AppendText(append(route, ','), "destination")
		at := l.Time("date")
		return string(route), flight{at.UnixNano(), l.Int("delay"), l.Int("distance")}, nil
	})
}

// reading returns a JSON whose key is what read makes of the line.
func reading[K any](read func(l *Line) K) *JSON[K, struct{}] {
	return NewJSON(func(l *Line) (K, struct{}, error) { return read(l), struct{}{}, nil })
}

func TestJSONReadsAFlight(t *testing.T) {
	route, f, err := newFlights().Parse([]byte(flightLine))
	at := time.Date(2001, 1, 1, 0, 1, 0, 0, time.UTC).UnixNano()
	if want := (flight{at, 33, 2176}); err != nil || route != "LAS,PHL" || f != want {
		t.Fatalf("got %q %+v %v", route, f, err)
	}
}

func TestJSONAccessorsReadEveryKindOfValue(t *testing.T) {
	line := `{"s":"aé\n\ud83d\ude00","i":-9223372036854775808,"u":18446744073709551615,"f":-2.5e-3,"b":true,"z":null,` +
		`"t":"2001-01-01T02:01:00+02:00","o":{"p":{"q":"deep"}},"a":[7,{"x":"in"},[]]}`
	check := func(name string, got, want any) {
		if got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	_, _, err := reading(func(l *Line) int {
		check("Text", l.Text("s"), "aé\n😀")
		check("Text again", l.Text("s"), "aé\n😀")
		check("AppendText", string(l.AppendText([]byte("k:"), "o", "p", "q")), "k:deep")
		check("Int", l.Int("i"), int64(math.MinInt64))
		check("Uint", l.Uint("u"), uint64(math.MaxUint64))
		check("Float", l.Float("f"), -2.5e-3)
		check("Float of a whole number", l.Float("u"), float64(math.MaxUint64))
		check("Bool", l.Bool("b"), true)
		check("Time", l.Time("t").UnixNano(), time.Date(2001, 1, 1, 0, 1, 0, 0, time.UTC).UnixNano())
		check("Int in an array", l.Int("a", "0"), int64(7))
		check("Text in an array", l.Text("a", "1", "x"), "in")
		check("Count", l.Count("a"), 3)
		check("Count of nothing", l.Count("a", "2"), 0)
		check("Has", l.Has("o", "p", "q"), true)
		check("Has null", l.Has("z"), false)
		check("Has none", l.Has("none"), false)
		check("Has beyond", l.Has("a", "9"), false)
		check("Has below a string", l.Has("s", "x"), false)
		check("Err", l.Err(), nil)
		return 0
	}).Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
}

func TestJSONNamesTheFieldAtFault(t *testing.T) {
	for _, c := range []struct {
		line string
		read func(l *Line)
		path string
		says string
	}{
		{`{}`, func(l *Line) { l.Text("user") }, "user", "is missing"},
		{`{"a":{}}`, func(l *Line) { l.Text("a", "b") }, "a.b", "is missing"},
		{`{"a":"x"}`, func(l *Line) { l.Text("a", "b", "c") }, "a", "is a string, so it has no b.c"},
		{`{"a":[1]}`, func(l *Line) { l.Int("a", "1") }, "a.1", "is missing"},
		{`{"a":[1]}`, func(l *Line) { l.Int("a", "+0") }, "a.+0", "is missing"},
		{`{"a":1}`, func(l *Line) { l.Text("a") }, "a", "is a number, not a string"},
		{`{"a":null}`, func(l *Line) { l.Text("a") }, "a", "is null, not a string"},
		{`{"a":"1"}`, func(l *Line) { l.Int("a") }, "a", "is a string, not a number"},
		{`{"a":{}}`, func(l *Line) { l.Float("a") }, "a", "is an object, not a number"},
		{`{"a":1}`, func(l *Line) { l.Bool("a") }, "a", "is a number, not true or false"},
		{`{"a":true}`, func(l *Line) { l.Count("a") }, "a", "is true, not an array"},
		{`{"a":1.5}`, func(l *Line) { l.Int("a") }, "a", "is 1.5, not a whole number"},
		{`{"a":1.0}`, func(l *Line) { l.Int("a") }, "a", "is 1.0, not a whole number"},
		{`{"a":1e3}`, func(l *Line) { l.Uint("a") }, "a", "is 1e3, not a whole number"},
		{`{"a":-1}`, func(l *Line) { l.Uint("a") }, "a", "is -1, outside 0 to"},
		{`{"a":9223372036854775808}`, func(l *Line) { l.Int("a") }, "a", "outside"},
		{`{"a":18446744073709551616}`, func(l *Line) { l.Uint("a") }, "a", "outside"},
		{`{"a":1e999}`, func(l *Line) { l.Float("a") }, "a", "is 1e999, which is too large"},
		{`{"a":"2001-01-01"}`, func(l *Line) { l.Time("a") }, "a", "not a time"},
		{`[1]`, func(l *Line) { l.Text() }, "", "it is an array, not a string"},
	} {
		_, _, err := reading(func(l *Line) int { c.read(l); return 1 }).Parse([]byte(c.line))
		var bad *LineError
		if !errors.As(err, &bad) || bad.Path != c.path || bad.Quote != c.line || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", c.line, err)
		}
	}
}

func TestJSONRemembersTheFirstFailureOnly(t *testing.T) {
	own := errors.New("own")
	j := NewJSON(func(l *Line) (string, int64, error) {
		user, at := l.Text("nobody"), l.Int("at")
		if user != "" || at != 0 || l.Has("at") || l.Err() == nil {
			t.Errorf("accessors answer after a failure: %q %d", user, at)
		}
		return "key", 1, own
	})
	key, event, err := j.Parse([]byte(`{"at":5}`))
	var bad *LineError
	if !errors.As(err, &bad) || bad.Path != "nobody" || errors.Is(err, own) || key != "" || event != 0 {
		t.Fatalf("got %q %d %v", key, event, err)
	}
}

func TestJSONReturnsTheErrorOfTheMapping(t *testing.T) {
	own := errors.New("no such user")
	j := NewJSON(func(l *Line) (string, int, error) { return "key", 7, own })
	key, event, err := j.Parse([]byte(`{}`))
	var bad *LineError
	if !errors.Is(err, own) || !errors.As(err, &bad) || key != "" || event != 0 {
		t.Fatalf("got %q %d %v", key, event, err)
	}
}

func TestJSONTurnsAPanicIntoAnError(t *testing.T) {
	cause := errors.New("cause")
	for name, mapping := range map[string]func(*Line) (string, int, error){
		"value": func(*Line) (string, int, error) { panic("ouch") },
		"error": func(*Line) (string, int, error) { panic(cause) },
		"none":  nil,
	} {
		key, event, err := NewJSON(mapping).Parse([]byte(`{}`))
		if err == nil || !strings.Contains(err.Error(), "panicked") || key != "" || event != 0 {
			t.Errorf("%s: got %q %d %v", name, key, event, err)
		}
		if errors.Is(err, cause) != (name == "error") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestJSONRefusesWhatIsNotJSON(t *testing.T) {
	j := reading(func(l *Line) int { return 1 })
	for _, line := range []string{
		``, ` `, `{`, `{"v":1.0.1}`, `{"v":NaN}`, `{"v":nan}`, `{"v":01}`, `{"v":-}`, `{"v":+1}`, `{"v":1.}`, `{"v":.5}`,
		`{"v":Infinity}`, `{"v":-inf}`, `{"v":1,}`, `[1,]`, `{'v':1}`, `{"v":1} x`, `{"v":1}{"v":2}`, `{"v":"a` + "\x01" + `"}`, "\"\x01\\b\"", "{\"\x01\\b\":1}",
		`{"v":"\x"}`, `{"v":"\u12"}`, `{v:1}`, "\ufeff{}", `{"v":tru}`, "{}\x00", `"abc`,
	} {
		_, _, err := j.Parse([]byte(line))
		if err == nil || !strings.Contains(err.Error(), "not JSON") {
			t.Errorf("%q: got %v", line, err)
		}
	}
	for _, line := range []string{`1`, `"x"`, `null`, " \t[ ]\r\n", `{"":{}}`} {
		if _, _, err := j.Parse([]byte(line)); err != nil {
			t.Errorf("%q: got %v", line, err)
		}
	}
}

func TestJSONErrorNamesTheByte(t *testing.T) {
	_, _, err := reading(func(l *Line) int { return 1 }).Parse([]byte(`{"v":NaN}`))
	if err == nil || !strings.Contains(err.Error(), "at byte 5") {
		t.Fatalf("got %v", err)
	}
}

func TestJSONRefusesTextThatIsNotUnicode(t *testing.T) {
	j := reading(func(l *Line) string { return l.Text() })
	for _, line := range []string{
		"\"a\xff\"", "\"\xed\xa0\x80\"", `"\ud800"`, `"\ud800x"`, `"\ud800\u0041"`, `"\udc00\ud800"`, `"\ud83d\ude00\uDE00"`,
		`"\n\ud800"`, `"\\\udfff"`, `"\ud800\ud800\udc00"`,
	} {
		if text, _, err := j.Parse([]byte(line)); err == nil {
			t.Errorf("%q: read %q", line, text)
		}
	}
	for line, want := range map[string]string{`"\ud83d\ude00"`: "😀", `"\\ud800"`: `\ud800`, `"\ufffd"`: "\ufffd", `"\u0000"`: "\x00"} {
		if text, _, err := j.Parse([]byte(line)); err != nil || text != want {
			t.Errorf("%q: got %q %v", line, text, err)
		}
	}
}

// The escaped spellings matter: the parser underneath compares names as they are
// written until a look-up fails, so that an earlier look-up would decide.
func TestJSONFirstOfEqualNamesCounts(t *testing.T) {
	for _, line := range []string{`{"a":1,"a":2}`, `{"\u0061":1,"a":2}`, `{"a":1,"\u0061":2}`} {
		for _, missBefore := range []bool{false, true} {
			got, _, err := reading(func(l *Line) int64 {
				if missBefore {
					l.Has("b")
				}
				return l.Int("a")
			}).Parse([]byte(line))
			if err != nil || got != 1 {
				t.Errorf("%s after a miss %v: got %d %v", line, missBefore, got, err)
			}
		}
	}
}

func TestJSONBoundsLengthDepthAndValues(t *testing.T) {
	j := reading(func(l *Line) int { return 1 })
	nested := func(n int) []byte {
		return []byte(strings.Repeat(`[`, n) + strings.Repeat(`]`, n))
	}
	if _, _, err := j.Parse(nested(lineDepthMax)); err != nil {
		t.Errorf("depth %d: got %v", lineDepthMax, err)
	}
	if _, _, err := j.Parse(nested(lineDepthMax + 1)); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("depth %d: got %v", lineDepthMax+1, err)
	}
	wide := []byte(`["[[\"` + strings.Repeat("[", 200) + `"` + strings.Repeat(`,[]`, 200) + `]`)
	if _, _, err := j.Parse(wide); err != nil {
		t.Errorf("wide but flat: got %v", err)
	}
	many := func(n int) []byte { return []byte("[0" + strings.Repeat(",0", n-1) + `,",,"]`) }
	if _, _, err := j.Parse(many(lineValuesMax - 1)); err != nil {
		t.Errorf("%d values: got %v", lineValuesMax, err)
	}
	if _, _, err := j.Parse(many(lineValuesMax)); err == nil || !strings.Contains(err.Error(), "values") {
		t.Errorf("%d values: got %v", lineValuesMax+1, err)
	}
	j = reading(func(l *Line) int { return 1 })
	j.LineBytesMax = 10
	if _, _, err := j.Parse([]byte(`"12345678"`)); err != nil {
		t.Errorf("10 bytes: got %v", err)
	}
	if _, _, err := j.Parse([]byte(`"123456789"`)); err == nil || !strings.Contains(err.Error(), "11 bytes") {
		t.Errorf("11 bytes: got %v", err)
	}
}

func TestJSONErrorQuotesABoundedPart(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", 1<<16) + `","n":` + strings.Repeat("1", 1<<16) + `}`
	for name, read := range map[string]func(l *Line){
		"type": func(l *Line) { l.Int("a") }, "range": func(l *Line) { l.Int("n") },
		"float": func(l *Line) { l.Float("n") }, "time": func(l *Line) { l.Time("a") },
	} {
		_, _, err := reading(func(l *Line) int { read(l); return 1 }).Parse([]byte(long))
		if err == nil || len(err.Error()) > 4*quoteBytesMax {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
	}
	_, _, err := reading(func(l *Line) int { return 1 }).Parse([]byte(long[:len(long)-1]))
	if err == nil || len(err.Error()) > 4*quoteBytesMax {
		t.Errorf("syntax: error of %d bytes", len(err.Error()))
	}
}

func TestJSONResultsDoNotAliasTheLine(t *testing.T) {
	var lent *Line
	j := NewJSON(func(l *Line) (string, []byte, error) {
		lent = l
		return l.Text("k"), l.AppendText(nil, "e"), nil
	})
	line := []byte(`{"k":"key","e":"event"}`)
	key, event, err := j.Parse(line)
	for i := range line {
		line[i] = 'x'
	}
	if _, _, err := j.Parse([]byte(`{"k":"KEY","e":"EVENT"}`)); err != nil {
		t.Fatal(err)
	}
	if err != nil || key != "key" || string(event) != "event" {
		t.Fatalf("got %q %q %v", key, event, err)
	}
	if lent.Has("k") || lent.Text("k") != "" {
		t.Fatal("a line answers after its mapping returned")
	}
}

func TestJSONDropsAParserThatReadALot(t *testing.T) {
	l := new(Line)
	for total := 0; total < parserBytesMax-len(flightLine); total += len(flightLine) {
		if err := l.open([]byte(flightLine), lineBytesMax); err != nil || !l.close() {
			t.Fatalf("dropped after %d bytes, %v", total, err)
		}
	}
	if err := l.open([]byte(flightLine), lineBytesMax); err != nil || l.close() {
		t.Fatalf("kept after %d bytes, %v", l.read, err)
	}
}

func TestJSONServesGoroutinesAtOnce(t *testing.T) {
	j := reading(func(l *Line) int64 { return l.Int("n") })
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 500 {
				want := int64(g*1000 + i)
				got, _, err := j.Parse([]byte(`{"n":` + strconv.FormatInt(want, 10) + `}`))
				if err != nil || got != want {
					t.Errorf("got %d %v, want %d", got, err, want)
				}
			}
		})
	}
	all.Wait()
}

func TestJSONMappingMayParse(t *testing.T) {
	inner := reading(func(l *Line) int64 { return l.Int() })
	outer := reading(func(l *Line) int64 {
		n, _, err := inner.Parse([]byte(l.Text("inner")))
		if err != nil {
			t.Error(err)
		}
		return n + l.Int("n")
	})
	if got, _, err := outer.Parse([]byte(`{"inner":"40","n":2}`)); err != nil || got != 42 {
		t.Fatalf("got %d %v", got, err)
	}
}

// BenchmarkJSON reads one flight, with a key made of two fields. BenchmarkEncodingJSON
// is what a user would write with the standard library.
func BenchmarkJSON(b *testing.B) {
	flights, line := newFlights(), []byte(flightLine)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	var sum int64
	for b.Loop() {
		_, f, err := flights.Parse(line)
		if err != nil {
			b.Fatal(err)
		}
		sum += f.Delay
	}
	if sum != 33*int64(b.N) {
		b.Fatal("wrong sum")
	}
}

func BenchmarkEncodingJSON(b *testing.B) {
	line := []byte(flightLine)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	var sum int64
	for b.Loop() {
		var f struct {
			Date                time.Time
			Delay, Distance     int64
			Origin, Destination string
		}
		if err := json.Unmarshal(line, &f); err != nil {
			b.Fatal(err)
		}
		key := f.Origin + "," + f.Destination
		sum += f.Delay + int64(len(key)-7)
	}
	if sum != 33*int64(b.N) {
		b.Fatal("wrong sum")
	}
}
