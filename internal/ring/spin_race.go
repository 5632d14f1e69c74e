//go:build race

package ring

// spinAllowed says whether waiting may begin with busy loops. Under the race
// detector they only slow down those who are waited for.
const spinAllowed = false

// roomPolls is how often a producer looks for room in each round before it yields.
const roomPolls = 1
