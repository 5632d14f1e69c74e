//go:build !race

package slab

const poisonDefault = false
