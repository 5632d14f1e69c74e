package main

import (
	"fmt"
	"strconv"
	"time"
)

// number is n with commas.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// counted is a number of things.
func counted(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// size is a number of bytes, to a person.
func size(n int64) string {
	v, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// moment is a time to the second; of the same day as before only the time.
func moment(t, before time.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return "no time"
	}
	t, before = t.UTC(), before.UTC()
	if !before.IsZero() && t.Format(time.DateOnly) == before.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
