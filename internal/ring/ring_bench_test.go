package ring_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/internal/ring"
)

const (
	benchEventBytes = 64
	benchRingBytes  = 1 << 20
)

// BenchmarkInbox moves events of 64 bytes from producers to one consumer, in blocks
// of one event or of many, through a Ring and through its rival, a buffered channel
// of blocks. One operation is one event. The consumer reads the first word of each
// event; the sum of these is checked.
func BenchmarkInbox(b *testing.B) {
	for _, producers := range []int{1, 2, 4} {
		for _, batch := range []int{1, 64} {
			name := fmt.Sprintf("producers=%d/bytes=%d/batch=%d", producers, benchEventBytes, batch)
			b.Run("via=ring/"+name, func(b *testing.B) { benchRing(b, producers, batch) })
			b.Run("via=channel/"+name, func(b *testing.B) {
				if batch == 1 {
					benchChannel[[benchEventBytes / 8]uint64](b, producers, batch)
				} else {
					benchChannel[[64 * benchEventBytes / 8]uint64](b, producers, batch)
				}
			})
		}
	}
}

// share returns how many blocks of batch events producer i of n sends to make at
// least events events.
func share(events, batch, i, n int) int {
	blocks := (events + batch - 1) / batch
	return (blocks + i) / n
}

func benchRing(b *testing.B, producers, batch int) {
	r, err := ring.New(benchRingBytes)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchEventBytes)
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	events := 0
	for i := range producers {
		blocks := share(b.N, batch, i, producers)
		events += blocks * batch
		group.Go(func() { benchProduce(b, r, blocks, batch) })
	}
	got := benchConsume(r, events)
	group.Wait()
	b.StopTimer()
	if want := uint64(events); got != want {
		b.Fatalf("sum of events is %d, want %d", got, want)
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds()/1e6, "Mevents/s")
}

func benchProduce(b *testing.B, r *ring.Ring, blocks, batch int) {
	for range blocks {
		c, outcome := r.Claim(0, batch*benchEventBytes)
		for outcome == ring.Full {
			if err := r.WaitRoom(context.Background(), batch*benchEventBytes); err != nil {
				b.Error(err)
				return
			}
			c, outcome = r.Claim(0, batch*benchEventBytes)
		}
		for p := c.Bytes; len(p) >= benchEventBytes; p = p[benchEventBytes:] {
			for at := 0; at < benchEventBytes; at += 8 {
				binary.LittleEndian.PutUint64(p[at:], 1)
			}
		}
		r.Publish(c)
	}
}

// benchConsume returns the sum of the first words of so many events. It yields when
// the ring is empty, as a shard does that has not been told to spin.
func benchConsume(r *ring.Ring, events int) (sum uint64) {
	for n := 0; n < events; {
		turn := n
		for taken := 0; taken < 128; taken++ {
			p, ok := r.Next()
			if !ok {
				break
			}
			for ; len(p) >= benchEventBytes; p = p[benchEventBytes:] {
				sum += binary.LittleEndian.Uint64(p)
				n++
			}
		}
		r.Release()
		if n == turn {
			runtime.Gosched()
		}
	}
	return sum
}

func benchChannel[B [8]uint64 | [512]uint64](b *testing.B, producers, batch int) {
	var zero B
	blocks := make(chan B, benchRingBytes/len(zero)/8)
	b.SetBytes(benchEventBytes)
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	want := 0
	for i := range producers {
		n := share(b.N, batch, i, producers)
		want += n * batch
		group.Go(func() {
			for range n {
				var block B
				for at := range len(block) {
					block[at] = 1
				}
				blocks <- block
			}
		})
	}
	var got uint64
	for n := 0; n < want; n += batch {
		block := <-blocks
		for at := 0; at < len(block); at += benchEventBytes / 8 {
			got += block[at]
		}
	}
	group.Wait()
	b.StopTimer()
	if got != uint64(want) {
		b.Fatalf("sum of events is %d, want %d", got, want)
	}
	b.ReportMetric(float64(want)/b.Elapsed().Seconds()/1e6, "Mevents/s")
}
