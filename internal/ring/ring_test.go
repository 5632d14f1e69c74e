package ring_test

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"testing"
	"unsafe"

	"github.com/keyfold/keyfold/internal/ring"
)

// newRing returns a Ring of the given size.
func newRing(t testing.TB, size int) *ring.Ring {
	t.Helper()
	r, err := ring.New(size)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// put claims a block, fills it with value and publishes it.
func put(r *ring.Ring, n int, value byte) ring.Outcome {
	c, outcome := r.Claim(0, n)
	if outcome == ring.Claimed {
		for i := range c.Bytes {
			c.Bytes[i] = value
		}
		r.Publish(c)
	}
	return outcome
}

// mustPut is put where nothing but Claimed will do.
func mustPut(t testing.TB, r *ring.Ring, n int, value byte) {
	t.Helper()
	if outcome := put(r, n, value); outcome != ring.Claimed {
		t.Fatalf("claim of %d bytes is %v, want Claimed", n, outcome)
	}
}

// mustTake takes the next block, which must have n bytes of the given value.
func mustTake(t testing.TB, r *ring.Ring, n int, value byte) {
	t.Helper()
	p, ok := r.Next()
	if !ok {
		t.Fatalf("no next block, want one of %d bytes", n)
	}
	if want := bytes.Repeat([]byte{value}, n); !bytes.Equal(p, want) {
		t.Fatalf("next block is %x, want %x", p, want)
	}
}

// mustBeClear fails if any word of an empty ring is not zero.
func mustBeClear(t testing.TB, r *ring.Ring) {
	t.Helper()
	for i, word := range r.Words() {
		if word != 0 {
			t.Fatalf("word %d of an empty ring is %#x", i, word)
		}
	}
}

func TestNewRefusesSizesThatAreNoPowerOfTwoInRange(t *testing.T) {
	for _, size := range []int{-1 << 20, -1, 0, 1, 8, 32, 63, 65, 96, 1000, 1<<20 + 8, ring.BytesMax + 1} {
		if r, err := ring.New(size); err == nil || r != nil {
			t.Errorf("New(%d) = %v, %v, want an error", size, r, err)
		}
	}
	for size := ring.BytesMin; size <= 1<<20; size *= 2 {
		if _, err := ring.New(size); err != nil {
			t.Error(err)
		}
	}
}

func TestClaimRefusesSizesOutsideOfOneToMaxBlock(t *testing.T) {
	r := newRing(t, 1024)
	for _, n := range []int{math.MinInt, -1, 0, r.MaxBlock() + 1, 1024, math.MaxInt} {
		if _, outcome := r.Claim(0, n); outcome != ring.BadSize {
			t.Errorf("claim of %d bytes is %v, want BadSize", n, outcome)
		}
		if err := r.WaitRoom(t.Context(), n); err == nil {
			t.Errorf("WaitRoom for %d bytes returns nil, want an error", n)
		}
	}
	if used := r.Used(); used != 0 {
		t.Errorf("refused claims use %d bytes", used)
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	want := map[ring.Outcome]string{
		ring.Claimed: "Claimed", ring.Full: "Full", ring.Stale: "Stale",
		ring.Closed: "Closed", ring.BadSize: "BadSize", 9: "Outcome(9)",
	}
	for outcome, name := range want {
		if got := fmt.Sprint(outcome); got != name {
			t.Errorf("outcome %d is called %q, want %q", uint8(outcome), got, name)
		}
	}
}

// Goal: two blocks of MaxBlock bytes fit into an empty ring wherever its tail
// stands, and not because MaxBlock is smaller than it needs to be.
func TestEmptyRingTakesTwoLargestBlocksAtEveryOffset(t *testing.T) {
	for size := ring.BytesMin; size <= 4096; size *= 2 {
		words := size / 8
		for at := range words {
			r := ring.NewAt(size, uint64(at))
			mustPut(t, r, r.MaxBlock(), 1)
			mustPut(t, r, r.MaxBlock(), 2)
			mustTake(t, r, r.MaxBlock(), 1)
			mustTake(t, r, r.MaxBlock(), 2)
		}
		// One word more, and the worst offset has room for only one: m-1 words of
		// padding and two blocks of m words.
		m := newRing(t, size).MaxBlock()/8 + 2
		if 3*m-1 <= words {
			t.Errorf("ring of %d words could take blocks of %d words", words, m)
		}
	}
}

// Method: at every offset of small rings, blocks of every size go through several
// laps. What comes out is what went in, aligned, and leaves no trace.
func TestBlocksSurviveWrappingAtEveryOffset(t *testing.T) {
	for _, size := range []int{64, 128, 512} {
		for at := range size / 8 {
			r := ring.NewAt(size, uint64(at))
			for n := 1; n <= r.MaxBlock(); n++ {
				mustPut(t, r, n, byte(n))
				mustPut(t, r, r.MaxBlock()+1-n, byte(n+1))
				for i, want := range []int{n, r.MaxBlock() + 1 - n} {
					p, ok := r.Next()
					if !ok || len(p) != want || cap(p) != want || p[0] != byte(n+i) || p[want-1] != byte(n+i) {
						t.Fatalf("size %d, offset %d, block of %d bytes: got %x", size, at, want, p)
					}
					if uintptr(unsafe.Pointer(&p[0]))%8 != 0 {
						t.Fatalf("block at %p is not aligned", &p[0])
					}
				}
				r.Release()
				mustBeClear(t, r)
			}
		}
	}
}

func TestClaimHandsOutZeroBytesOnly(t *testing.T) {
	r := newRing(t, 128)
	for lap := range 100 {
		c, _ := r.Claim(0, 1+lap%r.MaxBlock())
		for i, b := range c.Bytes {
			if b != 0 {
				t.Fatalf("byte %d of claim %d is %#x", i, lap, b)
			}
			c.Bytes[i] = 0xff
		}
		r.Publish(c)
		mustTake(t, r, len(c.Bytes), 0xff)
		r.Release()
	}
}

func TestPositionsGoOnWhereTheTailWordWraps(t *testing.T) {
	const before = 5 // words
	r := ring.NewAt(256, ring.PositionWords-before)
	start := r.Position()
	if want := uint64(ring.PositionWords-before) * 8; start != want {
		t.Fatalf("ring starts at position %d, want %d", start, want)
	}
	last := start
	for i := range 40 {
		n := 1 + i%r.MaxBlock()
		mustPut(t, r, n, byte(i))
		cut := r.SetRoute(0)
		if cut <= last || cut > last+256 {
			t.Fatalf("cut %d at position %d, ring starts at %d", cut, last, start)
		}
		if used := r.Used(); uint64(used) != cut-last {
			t.Fatalf("used %d, want %d", used, cut-last)
		}
		mustTake(t, r, n, byte(i))
		if r.Position() != cut {
			t.Fatalf("position %d, want %d", r.Position(), cut)
		}
		r.Release()
		last = cut
	}
	if last <= uint64(ring.PositionWords)*8 {
		t.Fatal("the position did not wrap")
	}
	if outcome := put(r, 8, 1); outcome != ring.Claimed {
		t.Fatalf("claim behind the wrap is %v: it has leaked into the bits above", outcome)
	}
}

func TestRingFillsToTheLastWordAndIsFullThen(t *testing.T) {
	r := newRing(t, 64)
	for i := range byte(4) {
		mustPut(t, r, 8, i)
	}
	if outcome := put(r, 1, 9); outcome != ring.Full {
		t.Fatalf("claim in a full ring is %v, want Full", outcome)
	}
	if r.Used() != 64 {
		t.Fatalf("used %d, want 64", r.Used())
	}
	mustTake(t, r, 8, 0)
	if outcome := put(r, 1, 9); outcome != ring.Full {
		t.Fatalf("claim before Release is %v, want Full", outcome)
	}
	r.Release()
	mustPut(t, r, 8, 4)
}

// Goal: a consumer that borrows the whole ring does not meet the oldest block again,
// whose first word still stands where the next block would begin.
func TestNextStopsWhereTheBorrowedBlocksBegin(t *testing.T) {
	r := newRing(t, 64)
	for i := range byte(4) {
		mustPut(t, r, 8, i)
	}
	for i := range byte(4) {
		mustTake(t, r, 8, i)
	}
	if p, ok := r.Next(); ok {
		t.Fatalf("a fifth block %x of four", p)
	}
	r.Release()
	mustBeClear(t, r)
}

func TestNextWaitsForTheOldestClaim(t *testing.T) {
	r := newRing(t, 256)
	first, _ := r.Claim(0, 8)
	second, _ := r.Claim(0, 16)
	r.Publish(second)
	if p, ok := r.Next(); ok {
		t.Fatalf("got %x before the oldest block was published", p)
	}
	r.Publish(first)
	mustTake(t, r, 8, 0)
	mustTake(t, r, 16, 0)
}

func TestRouteAndCloseRefuseClaimsAndCutThePosition(t *testing.T) {
	r := newRing(t, 256)
	mustPut(t, r, 8, 1)
	cut := r.SetRoute(7)
	if cut != 16 {
		t.Errorf("cut at %d, want 16", cut)
	}
	if _, outcome := r.Claim(0, 8); outcome != ring.Stale {
		t.Errorf("claim with an old route is %v, want Stale", outcome)
	}
	c, outcome := r.Claim(7, 8)
	if outcome != ring.Claimed {
		t.Fatalf("claim with the new route is %v, want Claimed", outcome)
	}
	end := r.Close()
	if end != 32 || r.Close() != end || r.SetRoute(8) != end {
		t.Errorf("closed at %d, want 32, now and later", end)
	}
	for _, route := range []uint16{0, 7, 8} {
		if _, outcome := r.Claim(route, 8); outcome != ring.Closed {
			t.Errorf("claim with route %d is %v, want Closed", route, outcome)
		}
	}
	r.Publish(c)
	mustTake(t, r, 8, 1)
	mustTake(t, r, 8, 0)
	if r.Drained() {
		t.Error("drained while blocks are borrowed")
	}
	r.Release()
	if !r.Drained() || r.Position() != end {
		t.Errorf("drained %v at position %d, want true at %d", r.Drained(), r.Position(), end)
	}
}

func TestAnOpenRingIsNeverDrained(t *testing.T) {
	r := newRing(t, 64)
	if r.Drained() {
		t.Error("a new ring is drained")
	}
	r.Close()
	if !r.Drained() {
		t.Error("a closed empty ring is not drained")
	}
}

// Goal: a Claim stays small enough for the compiler to keep it in registers; see the
// comment in Claim.
func TestClaimHasFourWords(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 && unsafe.Sizeof(ring.Claim{}) > 32 {
		t.Errorf("a Claim has %d bytes, want 32 at most", unsafe.Sizeof(ring.Claim{}))
	}
}

// Method: the difference of Mallocs over a million blocks; an average would hide a
// thousand allocations. A few are left to the runtime's own goroutines.
func TestBlocksPassWithoutAllocating(t *testing.T) {
	const blocks, allowed = 1_000_000, 20
	r := newRing(t, 4096)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range blocks {
		if put(r, 1+i%200, byte(i)) != ring.Claimed {
			t.Fatal("the ring is full")
		}
		if _, ok := r.Next(); !ok {
			t.Fatal("the block is missing")
		}
		r.Release()
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > allowed {
		t.Errorf("%d allocations in %d blocks", n, blocks)
	}
}
