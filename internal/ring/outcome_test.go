package ring_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/internal/matrix"
	"github.com/keyfold/keyfold/internal/ring"
)

// What may come of two actors that race, and what may not. Each row is asserted by
// a stress test below, in the column of forbidden outcomes.
//
//	actors               allowed                                  forbidden
//	Claim(old)           Claimed, block below the position        Claimed, block at or above it
//	  and SetRoute(new)  Stale, nothing claimed                   Stale, and yet a block
//	Claim(new)           Claimed, block at or above the position  Claimed, block below it
//	  and SetRoute(new)  Stale, nothing claimed
//	Claim                Claimed, block below the position,       Claimed, block at or above it;
//	  and Close          and Next returns it before Drained       Drained before Next returned it
//	                     Closed, nothing claimed                  Claimed once Close has returned
//	Close and Close      both return the same position            two positions
//	Publish of a later   Next returns neither                     Next returns the later one first
//	  block and Next     Next returns both, the earlier first     Next returns bytes written in part
//	Claim and Release    Full                                     Claimed, words still borrowed
//	                     Claimed, all bytes zero                  Claimed, a byte not zero
//	                                                              Full, and nobody ever sees room again
//	Publish, Wake        the consumer sees the block              the consumer waits, and the block
//	  and Prepare, Next  the consumer is woken                    is there

var items = flag.Int("ring.items", 0, "about how many blocks the test of their order sends; 0: some")

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 draws one")

// newRand returns the source of a random test, and prints how to repeat it.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with: go test ./internal/ring -run '%s' -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}

// atProcs runs a test with 1, 2 and 4 Ps.
func atProcs(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("procs=%d", n), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
			test(t)
		})
	}
}

// scaled returns n, or fewer with -short and under the race detector.
func scaled(n int) int {
	if testing.Short() {
		n /= 20
	}
	if ring.RaceEnabled {
		n /= 10
	}
	return n
}

// sent is one block as the consumer met it: who sent what, and where it lay.
type sent struct {
	from, to uint64 // positions around the block, padding before it included
	value    uint64
}

// collect consumes a ring until it is drained.
func collect(r *ring.Ring) (all []sent) {
	for !r.Drained() {
		from := r.Position()
		p, ok := r.Next()
		if !ok {
			r.Release()
			runtime.Gosched()
			continue
		}
		all = append(all, sent{from, r.Position(), binary.LittleEndian.Uint64(p)})
		if len(all)%7 == 0 {
			r.Release()
		}
	}
	return all
}

// Method: producers claim with a version they read earlier, while it changes. Each
// block carries its version and must lie between the positions that the changes to
// and from that version returned.
func TestRouteChangeCutsExactlyBetweenOldAndNewClaims(t *testing.T) {
	atProcs(t, func(t *testing.T) {
		const producers = 3
		changes := scaled(60_000)
		r := newRing(t, 1024)
		var route atomic.Uint32
		var claimed, stale atomic.Int64
		var group sync.WaitGroup
		for range producers {
			group.Go(func() {
				for n := 0; ; n++ {
					v := uint16(route.Load())
					if n%16 == 0 {
						runtime.Gosched()
					}
					c, outcome := r.Claim(v, 8+n%50)
					switch outcome {
					case ring.Closed:
						return
					case ring.Claimed:
						binary.LittleEndian.PutUint64(c.Bytes, uint64(v))
						r.Publish(c)
						claimed.Add(1)
					case ring.Stale:
						stale.Add(1)
					case ring.Full:
						runtime.Gosched()
					}
				}
			})
		}
		cuts := []uint64{0}
		group.Go(func() {
			for v := 1; v < changes; v++ {
				route.Store(uint32(v)) // first, so that claims may follow at once
				cuts = append(cuts, r.SetRoute(uint16(v)))
				if v%4 == 0 {
					runtime.Gosched()
				}
			}
			cuts = append(cuts, r.Close())
		})
		all := collect(r)
		group.Wait()
		for i, s := range all {
			if s.from < cuts[s.value] || s.to > cuts[s.value+1] {
				t.Fatalf("block %d of version %d lies in [%d, %d), its version in [%d, %d)",
					i, s.value, s.from, s.to, cuts[s.value], cuts[s.value+1])
			}
		}
		if int64(len(all)) != claimed.Load() {
			t.Errorf("%d blocks of %d claimed", len(all), claimed.Load())
		}
		if stale.Load() == 0 || claimed.Load() == 0 {
			t.Errorf("no race happened: %d claimed, %d stale", claimed.Load(), stale.Load())
		}
	})
}

// Method: many short lives of a ring. In each, producers claim until they are
// refused, two goroutines close, and the consumer takes all there is.
func TestCloseKeepsEveryEarlierClaimAndNoLaterOne(t *testing.T) {
	atProcs(t, func(t *testing.T) {
		for range scaled(4000) {
			r := newRing(t, 256)
			var claimed atomic.Int64
			var closed atomic.Bool
			var group sync.WaitGroup
			for range 2 {
				group.Go(func() {
					for {
						after := closed.Load()
						c, outcome := r.Claim(0, 8)
						if outcome == ring.Claimed {
							claimed.Add(1)
							r.Publish(c)
						}
						if after && outcome != ring.Closed {
							t.Errorf("claim after Close is %v", outcome)
						}
						if outcome == ring.Closed {
							return
						}
						runtime.Gosched()
					}
				})
			}
			var ends [2]uint64
			for i := range ends {
				group.Go(func() {
					ends[i] = r.Close()
					closed.Store(true)
				})
			}
			all := collect(r)
			group.Wait()
			if ends[0] != ends[1] || r.Position() != ends[0] {
				t.Fatalf("closed at %v, consumed to %d", ends, r.Position())
			}
			if int64(len(all)) != claimed.Load() {
				t.Fatalf("%d blocks of %d claimed", len(all), claimed.Load())
			}
		}
	})
}

// stamp fills a claimed block so that the reader can tell who wrote which block of
// how many bytes, and that all of it arrived.
func stamp(p []byte, producer, number uint32) {
	binary.LittleEndian.PutUint32(p, producer)
	binary.LittleEndian.PutUint32(p[4:], number)
	for i := 8; i < len(p); i++ {
		p[i] = byte(int(number) + i)
	}
}

// check is the reader's half of stamp.
func check(p []byte) (producer, number uint32, err error) {
	producer = binary.LittleEndian.Uint32(p)
	number = binary.LittleEndian.Uint32(p[4:])
	for i := 8; i < len(p); i++ {
		if p[i] != byte(int(number)+i) {
			return 0, 0, fmt.Errorf("byte %d of block %d from producer %d is %#x", i, number, producer, p[i])
		}
	}
	return producer, number, nil
}

// mustBeZero reports any byte that a claim should have found cleared.
func mustBeZero(t *testing.T, p []byte) {
	for i, b := range p {
		if b != 0 {
			t.Errorf("byte %d of a claimed block of %d is %#x", i, len(p), b)
			return
		}
	}
}

// sendPairs sends blocks of random sizes, claimed in pairs of which the later is
// often published first.
func sendPairs(t *testing.T, r *ring.Ring, rnd *rand.Rand, producer uint32, count int) {
	claim := func(n int) (ring.Claim, bool) {
		for {
			c, outcome := r.Claim(0, n)
			if outcome == ring.Claimed {
				mustBeZero(t, c.Bytes)
				return c, true
			}
			if err := r.WaitRoom(t.Context(), n); err != nil || outcome != ring.Full {
				t.Errorf("%v claiming %d bytes, %v", outcome, n, err)
				return c, false
			}
		}
	}
	// The second claim of a pair is a try: producers that hold a block while they
	// wait for room to claim another could wait for each other.
	for number := uint32(0); int(number) < count; number++ {
		first, ok := claim(8 + rnd.IntN(r.MaxBlock()-7))
		if !ok {
			return
		}
		stamp(first.Bytes, producer, number)
		if int(number)+1 < count {
			if second, outcome := r.Claim(0, 8+rnd.IntN(24)); outcome == ring.Claimed {
				number++
				stamp(second.Bytes, producer, number)
				r.Publish(second)
			}
		}
		r.Publish(first)
	}
}

// borrow takes up to limit blocks, and checks them once when they come and again
// before it releases them: meanwhile no producer may have touched them.
func borrow(t *testing.T, r *ring.Ring, limit int, expect []uint32) (taken int) {
	held := make([][]byte, 0, limit)
	for range limit {
		p, ok := r.Next()
		if !ok {
			break
		}
		held = append(held, p)
		producer, number, err := check(p)
		if err != nil {
			t.Fatal(err)
		}
		if number != expect[producer] {
			t.Fatalf("block %d from producer %d, want %d", number, producer, expect[producer])
		}
		expect[producer]++
	}
	for _, p := range held {
		if _, _, err := check(p); err != nil {
			t.Fatalf("while borrowed: %v", err)
		}
	}
	r.Release()
	if len(held) == 0 {
		runtime.Gosched()
	}
	return len(held)
}

// Goal: with many producers and sizes, each producer's blocks come out complete and
// in the order of its claims, claims find zero bytes, and borrowed ones stay as they
// are. This runs the rows Publish and Next, and Claim and Release.
func TestBlocksOfEachProducerComeOutWholeAndInOrder(t *testing.T) {
	const producers = 4
	row := matrix.Begin(t, "R16", "blocks of four producers through rings of three sizes, with 1, 2 and 4 CPUs, under the race detector if the build has it", "each comes out once, whole, in the order of its producer")
	rnd := newRand(t)
	atProcs(t, func(t *testing.T) {
		each := scaled(150_000)
		if *items > 0 {
			each = *items * 2 / (3 * 3 * producers) // the second size has half of it, the third few
		}
		for _, size := range []int{128, 1024, 1 << 16} {
			r := ring.NewAt(size, ring.PositionWords-uint64(rnd.IntN(10*size)))
			each := each / (1 + size>>10) // larger blocks, fewer of them
			var group sync.WaitGroup
			for i := range producers {
				own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
				group.Go(func() { sendPairs(t, r, own, uint32(i), each) })
			}
			expect := make([]uint32, producers)
			for taken := 0; taken < producers*each; {
				taken += borrow(t, r, 1+rnd.IntN(20), expect)
			}
			group.Wait()
			mustBeDrainedAndClear(t, r)
			row.Cycles += int64(producers * each)
		}
	})
}

// mustBeDrainedAndClear closes r, which must be empty, leave no trace and have
// nobody waiting.
func mustBeDrainedAndClear(t *testing.T, r *ring.Ring) {
	t.Helper()
	for {
		if _, ok := r.Next(); !ok {
			break
		}
	}
	r.Release()
	r.Close()
	if !r.Drained() || r.Used() != 0 || r.Waiting() != 0 {
		t.Fatalf("drained %v, used %d, waiting %d", r.Drained(), r.Used(), r.Waiting())
	}
	mustBeClear(t, r)
}
