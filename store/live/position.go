package live

import (
	"strconv"
	"strings"
)

// Position is a place in the stream of changes of one database: everything up to and with it is known.
type Position struct {
	Epoch  string // which database; positions of different ones say nothing about each other
	Number int64
}

// String is the form in which clients keep a position: <epoch>-<number>.
func (p Position) String() string { return p.Epoch + "-" + strconv.FormatInt(p.Number, 10) }

// ParsePosition reads what String wrote. ok is false for anything else.
func ParsePosition(text string) (p Position, ok bool) {
	epoch, number, found := strings.Cut(text, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	p = Position{Epoch: epoch, Number: n}
	return p, found && err == nil && n >= 0 && p.String() == text
}
