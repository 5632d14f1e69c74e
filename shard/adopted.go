package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/keyfold/keyfold/snapshot"
)

// Images are wanted by a reader of changes that folds them: in the log of a shard that has
// adopted a partition its image is, which may be the only one of it there is.
type Images struct {
	// Table is the id of the one that they are wanted of.
	Table uint16
	// Take is given the image of each partition that was adopted, between the changes that it
	// holds and those that it does not.
	Take func(*Adopted) error
}

// An Adopted is the image of a table in a partition as the log of a new owner holds it.
type Adopted struct {
	Partition uint32
	Sequence  uint64 // of the last event that it holds
	Schema    uint32 // number of the one that it was written under
	parts     []byte // records
}

// Blocks hands out the blocks of the image, as Image.Blocks has given them. data is borrowed.
func (a *Adopted) Blocks(yield func(form uint8, entries uint32, data []byte) error) error {
	var rec record
	var whole assembly
	for rest := a.parts; len(rest) > 0; {
		var err error
		if rest, err = takeRecord(rest, &rec); err != nil {
			return err
		}
		event := rec.event()
		kind, entries := binary.LittleEndian.Uint32(event[4:]), binary.LittleEndian.Uint32(event[8:])
		data, err := whole.add(entries, event[partHeaderBytes:])
		if err == nil && data != nil {
			err = yield(uint8(kind>>16), entries, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// An assembly puts the parts of a block together.
type assembly struct{ block []byte }

// add adds a part. It returns the block if it was the last one of it, until the next add.
func (a *assembly) add(entries uint32, data []byte) (whole []byte, err error) {
	if len(a.block)+len(data) > snapshot.DataBytesMax {
		return nil, fmt.Errorf("%w: a block of more than %d bytes", errAdoption, snapshot.DataBytesMax)
	}
	if entries == 0 {
		a.block = append(a.block, data...)
		return nil, nil
	}
	if len(a.block) == 0 {
		return data, nil
	}
	data = append(a.block, data...)
	a.block = a.block[:0]
	return data, nil
}

// keepImage begins to keep the image of a claim, if somebody may want it who has position.
func (t *trail) keepImage(a *claim, position []uint64) {
	if images := t.source.Images; images != nil && position[a.partition] <= a.begin {
		a.image = &Adopted{Partition: a.partition, Sequence: a.begin, Schema: eraOf(t.eras, t.place.frame).of(images.Table)}
	}
}

// keepPart keeps a part of the image of a claim.
func (t *trail) keepPart(a *claim, rec *record) error {
	event := rec.event()
	if len(event) < partHeaderBytes {
		return fmt.Errorf("%w: a part of %d bytes", errAdoption, len(event))
	}
	if a == nil || a.image == nil || uint16(binary.LittleEndian.Uint32(event[4:])) != t.source.Images.Table {
		return nil
	}
	a.image.parts = append(a.image.parts, rec.bytes...)
	return nil
}

// giveImage gives the image of a claim to who wants it, when all that it holds was read.
func (t *trail) giveImage(a *claim, position []uint64) error {
	image := a.image
	if a.image = nil; image == nil || position[a.partition] != image.Sequence {
		return nil
	}
	return t.source.Images.Take(image)
}
