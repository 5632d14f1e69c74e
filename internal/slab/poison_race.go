//go:build race

package slab

const poisonDefault = true
