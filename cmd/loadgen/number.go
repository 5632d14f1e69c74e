package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// count is a number such as 10M, 200k or 1_000. As a rate it may end with /s.
type count uint64

// UnmarshalText reads a count.
func (c *count) UnmarshalText(text []byte) error {
	s := strings.ReplaceAll(string(text), "_", "")
	n, err := scaled(strings.TrimSuffix(s, "/s"), []unit{{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}})
	*c = count(n)
	return err
}

// size is a number of bytes such as 128, 64KiB or 1MB.
type size int64

// UnmarshalText reads a size.
func (s *size) UnmarshalText(text []byte) error {
	n, err := scaled(string(text), []unit{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
	})
	*s = size(n)
	return err
}

// unit is a suffix and what it multiplies by.
type unit struct {
	suffix string
	factor float64
}

// numberMax is the largest number that a float64 holds exactly.
const numberMax = 1 << 53

func scaled(s string, units []unit) (uint64, error) {
	factor, digits := 1.0, s
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			factor, digits = u.factor, rest
			break
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	n := f * factor
	if err != nil || !(n >= 0) || n > numberMax || n != math.Trunc(n) {
		return 0, fmt.Errorf("%q is not a number such as 1000, 200k, 10M or 64KiB", s)
	}
	return uint64(n), nil
}
