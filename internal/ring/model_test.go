package ring_test

import (
	"bytes"
	"testing"

	"github.com/keyfold/keyfold/internal/ring"
	"pgregory.net/rapid"
)

// model is what a Ring should be: a queue of blocks, and a count of words.
type model struct {
	size, blockMax int // bytes

	route  uint16
	closed bool
	tail   uint64  // bytes claimed since the beginning
	head   uint64  // bytes released
	next   uint64  // bytes returned by Next
	queue  []*item // claimed, not returned by Next
	lent   []*item // returned by Next, not released
}

// item is one block of the model.
type item struct {
	claim     ring.Claim
	content   []byte
	begin     uint64 // behind the padding, which is published with the claim
	end       uint64
	published bool
	seen      []byte // what Next returned
}

// claimed says what Claim should return, and how many bytes of padding and block it
// takes.
func (m *model) claimed(route uint16, n int) (outcome ring.Outcome, pad, block uint64) {
	block = uint64(8 + (n+7)/8*8)
	if left := uint64(m.size) - m.tail%uint64(m.size); block > left {
		pad = left
	}
	switch {
	case n < 1 || n > m.blockMax:
		return ring.BadSize, 0, 0
	case m.closed:
		return ring.Closed, 0, 0
	case route != m.route:
		return ring.Stale, 0, 0
	case m.tail-m.head+pad+block > uint64(m.size):
		return ring.Full, 0, 0
	}
	return ring.Claimed, pad, block
}

// TestRingBehavesAsAQueueOfBlocks runs random operations on a Ring and on a model,
// single-threaded, near the wrap of the position. rapid prints how to repeat.
func TestRingBehavesAsAQueueOfBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := 1 << rapid.IntRange(6, 11).Draw(t, "log2 of size")
		start := ring.PositionWords - uint64(rapid.IntRange(0, size).Draw(t, "words before the wrap"))
		r := ring.NewAt(size, start)
		m := &model{size: size, blockMax: r.MaxBlock(), tail: start * 8, head: start * 8, next: start * 8}
		t.Repeat(map[string]func(*rapid.T){
			"claim":   func(t *rapid.T) { m.claim(t, r) },
			"publish": func(t *rapid.T) { m.publish(t, r) },
			"take":    func(t *rapid.T) { m.take(t, r) },
			"release": func(t *rapid.T) { m.release(r) },
			"route": func(t *rapid.T) {
				m.route = uint16(rapid.IntRange(0, 3).Draw(t, "route"))
				if got := r.SetRoute(m.route); got != m.tail {
					t.Fatalf("SetRoute returns %d, want %d", got, m.tail)
				}
			},
			"close": func(t *rapid.T) {
				m.closed = m.closed || rapid.IntRange(0, 19).Draw(t, "close") == 0
				if m.closed && r.Close() != m.tail {
					t.Fatalf("Close returns %d, want %d", r.Close(), m.tail)
				}
			},
			"": func(t *rapid.T) { m.compare(t, r) },
		})
	})
}

func (m *model) claim(t *rapid.T, r *ring.Ring) {
	n := rapid.IntRange(-1, m.blockMax+1).Draw(t, "bytes")
	route := m.route
	if rapid.IntRange(0, 9).Draw(t, "old route") == 0 {
		route++
	}
	want, pad, block := m.claimed(route, n)
	c, outcome := r.Claim(route, n)
	if outcome != want {
		t.Fatalf("claim of %d bytes with route %d is %v, want %v", n, route, outcome, want)
	}
	if outcome != ring.Claimed {
		return
	}
	if !bytes.Equal(c.Bytes, make([]byte, n)) || cap(c.Bytes) != n {
		t.Fatalf("claim of %d bytes returns %x of capacity %d", n, c.Bytes, cap(c.Bytes))
	}
	begin := m.tail + pad
	m.tail = begin + block
	content := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "content")
	m.queue = append(m.queue, &item{claim: c, content: content, begin: begin, end: m.tail})
}

func (m *model) publish(t *rapid.T, r *ring.Ring) {
	var open []*item
	for _, b := range m.queue {
		if !b.published {
			open = append(open, b)
		}
	}
	if len(open) == 0 {
		t.Skip("nothing to publish")
	}
	b := rapid.SampledFrom(open).Draw(t, "block")
	copy(b.claim.Bytes, b.content)
	r.Publish(b.claim)
	b.published = true
}

func (m *model) take(t *rapid.T, r *ring.Ring) {
	p, ok := r.Next()
	if want := len(m.queue) > 0 && m.queue[0].published; ok != want {
		t.Fatalf("Next returns %v, want %v", ok, want)
	}
	if len(m.queue) == 0 {
		return
	}
	b := m.queue[0]
	m.next = b.begin
	if !ok {
		return
	}
	m.queue = m.queue[1:]
	b.seen = p
	m.next = b.end
	m.lent = append(m.lent, b)
}

func (m *model) release(r *ring.Ring) {
	r.Release()
	m.lent = nil
	m.head = m.next
}

// compare holds what can be seen of the Ring against the model.
func (m *model) compare(t *rapid.T, r *ring.Ring) {
	for _, b := range m.lent {
		if !bytes.Equal(b.seen, b.content) {
			t.Fatalf("borrowed block is %x, want %x", b.seen, b.content)
		}
	}
	if r.Position() != m.next {
		t.Fatalf("position %d, want %d", r.Position(), m.next)
	}
	if r.Drained() != (m.closed && m.head == m.tail) {
		t.Fatalf("drained is %v, closed %v, %d released of %d bytes", r.Drained(), m.closed, m.head, m.tail)
	}
	if r.Used() != int(m.tail-m.head) {
		t.Fatalf("used %d, want %d", r.Used(), m.tail-m.head)
	}
}
