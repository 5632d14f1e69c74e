//go:build !race

package ring

// spinAllowed says whether waiting may begin with busy loops.
const spinAllowed = true
