package workload

import "fmt"

// KeyBytes is the length of a generated key.
const KeyBytes = 16

// KeysMax is the largest count of generated keys: what the digits of a key can say.
const KeysMax = 1_000_000_000_000

const keyPrefix = "key-"

// digitPairs are the numbers from 00 to 99.
const digitPairs = "00010203040506070809" + "10111213141516171819" + "20212223242526272829" +
	"30313233343536373839" + "40414243444546474849" + "50515253545556575859" +
	"60616263646566676869" + "70717273747576777879" + "80818283848586878889" +
	"90919293949596979899"

// AppendKey appends the key of a number below KeysMax to b: `key-` and twelve
// digits.
func AppendKey(b []byte, number uint64) []byte {
	b = append(b, "key-000000000000"...)
	for i := len(b) - 2; number > 0; i -= 2 {
		pair := 2 * (number % 100)
		number /= 100
		b[i], b[i+1] = digitPairs[pair], digitPairs[pair+1]
	}
	return b
}

// KeyNumber is the number that AppendKey made key from. Its error says that key
// is none of those.
func KeyNumber(key []byte) (uint64, error) {
	if len(key) != KeyBytes || string(key[:len(keyPrefix)]) != keyPrefix {
		return 0, fmt.Errorf("workload: %q is not a generated key", key)
	}
	var number uint64
	for _, c := range key[len(keyPrefix):] {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("workload: %q is not a generated key", key)
		}
		number = number*10 + uint64(c-'0')
	}
	return number, nil
}
