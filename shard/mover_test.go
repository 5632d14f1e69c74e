package shard

import (
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: a large partition on its way holds up nobody on the new owner: each turn logs a
// little of it, no sync has more than a bounded part of it, and calls on other partitions
// are acknowledged in between. Method: an image of many parts; a call whenever there is
// none, and what each turn and each sync gets is counted.
func TestAnImageIsLoggedALittleATurnAndASync(t *testing.T) {
	bubble(t, crashfs.New(), func(p *pair) {
		from, to := p.shards[0], p.shards[1]
		limits := paces{part: 500, sync: 2000, cargo: 5000}
		p.mover.paces = limits
		for range 20 {
			p.say(0, Applied, "0a", "0b")
			from.send(Applied, adds("0a", 60)...)
			p.settle()
		}
		const others = 500 // bytes of calls in a turn, or of what a record is more than a part
		logged := func() int { return int(to.log.bytes) + to.log.frame.Len() }
		p.move(0)
		begun, synced, told := logged(), logged(), 0
		var c *call
		for turns := 0; p.moved != nil; turns++ {
			if c == nil || c.done() {
				if c != nil {
					c.want("meanwhile", true)
					told++
				}
				c = to.send(Durable, add("2a"))
			}
			before := logged()
			from.turn()
			to.turn()
			if n := logged() - before; n > limits.part+others {
				p.Fatalf("a turn logs %d bytes, a part has %d", n, limits.part)
			}
			from.sync()
			if turns%10 == 0 && to.sync() {
				if n := logged() - synced; n > limits.sync+limits.part+others {
					p.Fatalf("%d bytes between two syncs, want %d", n, limits.sync)
				}
				synced = logged()
			}
			if p.look(); turns > 10_000 {
				p.Fatal("the move does not end")
			}
		}
		image := logged() - begun
		if t.Logf("%d bytes were logged, %d calls told meanwhile", image, told); image < 20_000 || told < image/limits.sync/2 {
			p.Errorf("%d bytes were logged, and %d calls told meanwhile", image, told)
		}
		p.settle()
		p.contents("settled")
	}, func(c *Config) { c.Inbox = 1 << 15 })
}
