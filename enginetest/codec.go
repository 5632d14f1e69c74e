package enginetest

import (
	"math/rand/v2"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// codecValues are how many values CheckCodec tries.
const codecValues = 1000

// CheckCodec tries a codec alone, with values from generate, as [Check] does for those of a
// table: a value comes back from its bytes, also when these lie behind others and are
// written over afterwards, and what came back is written and read like the first. Everything
// in generate must come from random. What fails prints its seed and how to repeat it.
func CheckCodec[T any](t *testing.T, codec engine.Codec[T], generate func(random *rand.Rand) T) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	if err := checkCodec(codec, generate, seed); err != nil {
		t.Errorf("%v\nrepeat with: go test -run '^%s$' -enginetest.seed %d", err, t.Name(), seed)
	}
}

func checkCodec[T any](codec engine.Codec[T], generate func(random *rand.Rand) T, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 0))
	for range codecValues {
		v := generate(random)
		if err := roundTrip(codec, "codec "+codec.Name(), &v); err != nil {
			return err
		}
	}
	return nil
}
