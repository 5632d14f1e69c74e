package recent

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"testing"
)

var seedFlag = flag.Uint64("recent.seed", 0, "seed of what is random; 0: a new one")

func seeded(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with: go test ./internal/recent -run '^%s$' -recent.seed %d", t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

type remembered struct {
	id ID
	a  Answer
}

// check compares a set with the list of what it must remember, oldest first.
func check(t *testing.T, s *Set, want []remembered) {
	t.Helper()
	if s.Len() != len(want) {
		t.Fatalf("%d entries, want %d", s.Len(), len(want))
	}
	latest := make(map[ID]Answer)
	for _, r := range want {
		latest[r.id] = r.a
	}
	for id, a := range latest {
		have, ok := s.Find(id)
		if !ok || !bytes.Equal(have.Bytes, a.Bytes) || have.Lost != a.Lost || have.Time != a.Time {
			t.Fatalf("%x: %v %+v, want %+v", id, ok, have, a)
		}
	}
	if s.words != len(latest) {
		t.Fatalf("%d words of the index for %d ids", s.words, len(latest))
	}
}

// Goal: a set remembers what was added and not dropped, and nothing else, in memory that
// follows. Method: adding, adding again and dropping at random beside a list, with ids
// whose places in the index collide, and now and then a copy by Raw and Load.
func TestSetRemembersWhatWasNotDropped(t *testing.T) {
	random := seeded(t)
	for round := range 40 {
		var s Set
		var want []remembered
		limit, space := 1+random.IntN(300), uint64(1+random.IntN(400))
		for range 2000 {
			id := ID{random.Uint64N(space) * 0x10001 & 0xffff, uint64(round % 2)}
			if random.IntN(3) == 0 || len(want) >= limit {
				if time, ok := s.Oldest(); ok != (len(want) > 0) || ok && time != want[0].a.Time {
					t.Fatalf("the oldest is of %d", time)
				}
				s.DropOldest()
				if want = want[min(1, len(want)):]; len(want) > 0 && random.IntN(40) == 0 {
					for len(want) > 1 {
						s.DropOldest()
						want = want[1:]
					}
				}
			}
			a := Answer{Time: random.Int64(), Lost: random.IntN(9) == 0}
			if !a.Lost {
				a.Bytes = bytes.Repeat([]byte{byte(random.Uint32())}, random.IntN(20))
			}
			s.Add(id, a)
			want = append(want, remembered{id, a})
			if _, ok := s.Find(ID{id[0], 7}); ok {
				t.Fatal("an id was found that was never added")
			}
			if random.IntN(60) == 0 {
				check(t, &s, want)
				var copied Set
				if err := copied.Load(s.Len(), s.Raw()); err != nil || !bytes.Equal(copied.Raw(), s.Raw()) {
					t.Fatal(err)
				}
				check(t, &copied, want)
			}
		}
		check(t, &s, want)
		if most := 6*(len(s.Raw())+16*s.Len()) + shrinkBytes; s.Bytes() > most {
			t.Fatalf("%d bytes for %d entries, %d at most", s.Bytes(), s.Len(), most)
		}
		for range want {
			s.DropOldest()
		}
		if s.DropOldest(); s.Bytes() != 0 {
			t.Fatalf("an empty set holds %d bytes", s.Bytes())
		}
	}
}

func TestLoadRefusesWhatRawDoesNotGive(t *testing.T) {
	var s Set
	s.Add(ID{1, 2}, Answer{Bytes: []byte("five!"), Time: 3})
	s.Add(ID{2, 2}, Answer{Lost: true})
	raw := s.Raw()
	for n := range raw {
		if err := new(Set).Load(2, raw[:n]); err == nil {
			t.Errorf("%d bytes of %d were taken", n, len(raw))
		}
	}
	if new(Set).Load(1, raw) == nil || new(Set).Load(3, raw) == nil {
		t.Error("another number of entries was taken")
	}
}

// BenchmarkAdd is what it costs to remember an event that was never seen, with an answer
// of 8 bytes, when so many are remembered; the rival is a map with a queue of its keys.
func BenchmarkAdd(b *testing.B) {
	const limit = 1 << 16
	b.Run("memory=set", func(b *testing.B) {
		var s Set
		var answer [8]byte
		random := rand.New(rand.NewPCG(1, 1))
		b.ReportAllocs()
		for b.Loop() {
			id := ID{random.Uint64(), 1}
			if _, ok := s.Find(id); ok {
				continue
			}
			if s.Len() == limit {
				s.DropOldest()
			}
			s.Add(id, Answer{Bytes: answer[:], Time: 1})
		}
		b.ReportMetric(float64(s.Bytes())/float64(s.Len()), "B/id")
	})
	b.Run("memory=map", func(b *testing.B) {
		m := make(map[ID]int64)
		var queue []ID
		random := rand.New(rand.NewPCG(1, 1))
		b.ReportAllocs()
		for b.Loop() {
			id := ID{random.Uint64(), 1}
			if _, ok := m[id]; ok {
				continue
			}
			if len(m) == limit {
				delete(m, queue[0])
				queue = queue[1:]
			}
			m[id] = 1
			queue = append(queue, id)
		}
	})
}
