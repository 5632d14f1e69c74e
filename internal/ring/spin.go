//go:build !race

package ring

// spinAllowed says whether waiting may begin with busy loops.
const spinAllowed = true

// roomPolls is how often a producer looks for room in each round before it yields,
// about 25 ns apart (BenchmarkInbox).
const roomPolls = 64
