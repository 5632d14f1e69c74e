//go:build race

package ring

// spinAllowed says whether waiting may begin with busy loops. Under the race
// detector they only slow down those who are waited for.
const spinAllowed = false
