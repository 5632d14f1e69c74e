// Command fraud scores payments by what is known of card, merchant and device: three keys
// that are read and written for each payment. A batch over several keys is not atomic; the
// id of the payment makes it safe to send all of it again, and gives the same score.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// A Payment is what is scored.
type Payment struct {
	ID                     string
	Card, Merchant, Device string
	Cents                  int64
}

// A Profile is what is known of a card, a merchant or a device.
type Profile struct{ Payments, Cents, Largest int64 }

// newProfiles declares the table. Apply answers with the profile as it was before.
func newProfiles() *engine.Table[string, Profile, int64, Profile] {
	return engine.NewTable(engine.Spec[string, Profile, int64, Profile]{
		Name: "profiles", Once: engine.Once{IDs: 10_000, For: 24 * time.Hour},
		Apply: func(_ *engine.Context[string], s *Profile, cents int64) Profile {
			before := *s
			s.Payments, s.Cents, s.Largest = s.Payments+1, s.Cents+cents, max(s.Largest, cents)
			return before
		},
	})
}

// score books a payment and says how suspicious it is, from 0 to 100. After an error call
// it again: what was booked stays booked once, and answers as it did.
func score(ctx context.Context, profiles *engine.Table[string, Profile, int64, Profile], b *engine.Batch, p Payment) (int, error) {
	id := engine.EventIDOf(p.ID)
	var card, merchant, device engine.Result[Profile]
	profiles.PutOnce(b, id, "card/"+p.Card, p.Cents, &card)
	profiles.PutOnce(b, id, "merchant/"+p.Merchant, p.Cents, &merchant)
	profiles.PutOnce(b, id, "device/"+p.Device, p.Cents, &device)
	if err := b.Do(ctx); err != nil {
		return 0, err
	}
	points := 0
	if device.Value.Payments == 0 {
		points += 30 // a new device
	}
	if merchant.Value.Payments < 3 {
		points += 20 // a merchant that nobody knows
	}
	if p.Cents > 3*card.Value.Largest && card.Value.Payments > 0 {
		points += 50 // far more than the card has ever paid
	}
	return points, nil
}

func run(ctx context.Context, dir string) error {
	profiles := newProfiles()
	eng, err := engine.Open(ctx, dir, engine.Options{}, profiles)
	if err != nil {
		return err
	}
	defer eng.Close()
	b := eng.Batch()
	for _, p := range []Payment{
		{"p1", "4711", "bakery", "phone", 300},
		{"p2", "4711", "bakery", "phone", 350},
		{"p3", "4711", "jeweller", "laptop", 90_000},
		{"p3", "4711", "jeweller", "laptop", 90_000}, // sent again
	} {
		points, err := score(ctx, profiles, b, p)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d\n", p.ID, points)
	}
	return nil
}

func main() {
	if err := run(context.Background(), "fraud.keyfold"); err != nil {
		log.Fatal(err)
	}
}
