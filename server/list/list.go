// Package list has what all lists of the API share: pages, the cursor to the next one, and time
// ranges. The parameters are described once, in components/parameters of openapi.yaml; the contract
// has seen to their form before they come here.
package list

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// What is wrong with a parameter that has the documented form.
var (
	// ErrNoSuchTime is a day or time that does not exist, such as 30 February.
	ErrNoSuchTime = errors.New("is not a time that exists")
	// ErrMalformedCursor is a text that this server never gave out as a cursor.
	ErrMalformedCursor = errors.New("is not a cursor: take it from the answer as it is")
	// ErrForeignCursor is a cursor of another list, or of this list with other filters.
	ErrForeignCursor = errors.New("is the cursor of another list, or of other filters")
	// ErrOffsetAndCursor is a page that is asked for in two ways at once.
	ErrOffsetAndCursor = errors.New("does not go together with cursor")
	// ErrNoSuchZone is a time zone that the IANA database does not have.
	ErrNoSuchZone = errors.New("is not the name of a time zone")
	// ErrRangeTooLong is a time range with more buckets than one answer may have.
	ErrRangeTooLong = errors.New("is too far from end_date")
)

// ParameterError says which parameter of the query is wrong. It wraps one of the errors above.
type ParameterError struct {
	Name string
	Err  error
}

func (e *ParameterError) Error() string { return e.Name + " " + e.Err.Error() }

func (e *ParameterError) Unwrap() error { return e.Err }

// Page cuts rows to one page. They were read with a limit of one more, which tells whether the list
// goes on.
func Page[T any](rows []T, limit int) (page []T, goesOn bool) {
	if len(rows) > limit {
		return rows[:limit], true
	}
	return rows, false
}

// Position is a row's place in a list that is ordered by time and then by id. It stays a place when
// the row is deleted. Times count in microseconds, as in the database.
type Position struct {
	At time.Time
	ID int64
}

// Cursors are the cursors of one list with one set of filters. A cursor is bound to both, so that
// one that is used elsewhere is refused and never continues at a place without meaning. It is no
// secret and protects nothing.
type Cursors struct{ list [8]byte }

// CursorsOf returns the cursors of a list: its operationId and everything that chooses its rows and
// their order, but not the page's size. Filters must be what JSON can write.
func CursorsOf(operationID string, filters ...any) Cursors {
	text, err := json.Marshal(append([]any{operationID}, filters...))
	if err != nil {
		panic(err) // a fault in the code that calls it, whatever the request
	}
	sum := sha256.Sum256(text)
	return Cursors{list: [8]byte(sum[:8])}
}

// cursorFormat is the first byte of a cursor. Another layout gets another number.
const cursorFormat = 1

// cursorText writes cursors. Strict, so that one position has one cursor.
var cursorText = base64.RawURLEncoding.Strict()

// Encode returns the cursor that continues behind a row.
func (c Cursors) Encode(last Position) string {
	raw := append([]byte{cursorFormat}, c.list[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(last.At.UnixMicro()))
	raw = binary.BigEndian.AppendUint64(raw, uint64(last.ID)) //nolint:gosec // the same bits
	return cursorText.EncodeToString(raw)
}

// Decode returns the position of the parameter cursor; nil without one. The error is a
// ParameterError.
func (c Cursors) Decode(cursor *string) (*Position, error) {
	if cursor == nil {
		return nil, nil //nolint:nilnil // the first page
	}
	raw, err := cursorText.DecodeString(*cursor)
	// The decoder passes over line ends.
	if err != nil || len(raw) != 25 || raw[0] != cursorFormat || strings.ContainsAny(*cursor, "\r\n") {
		return nil, &ParameterError{"cursor", ErrMalformedCursor}
	}
	if [8]byte(raw[1:9]) != c.list {
		return nil, &ParameterError{"cursor", ErrForeignCursor}
	}
	return &Position{
		At: time.UnixMicro(int64(binary.BigEndian.Uint64(raw[9:17]))).UTC(), //nolint:gosec // the same bits
		ID: int64(binary.BigEndian.Uint64(raw[17:25])),                      //nolint:gosec // the same bits
	}, nil
}

// Range is a time range for rows whose times count in microseconds: from From, before Before. Nil
// is no bound. Bounds in the wrong order are an empty range and no error.
type Range struct{ From, Before *time.Time }

// RangeOf reads the parameters start_date and end_date, both inclusive. A date alone stands for the
// whole day in the zone, also where that has 23 or 25 hours. A time without a zone is in UTC. The
// error is a ParameterError.
func RangeOf(startDate, endDate *string, zone *time.Location) (Range, error) {
	var r Range
	if startDate != nil {
		from, _, err := bounds(*startDate, zone)
		if err != nil {
			return Range{}, &ParameterError{"start_date", err}
		}
		r.From = &from
	}
	if endDate != nil {
		_, before, err := bounds(*endDate, zone)
		if err != nil {
			return Range{}, &ParameterError{"end_date", err}
		}
		r.Before = &before
	}
	return r, nil
}

// firstInstant and lastInstant are the earliest and the latest bound that make sense: nothing was
// recorded before or is after them, and every way to write times has room for them.
var (
	firstInstant = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastInstant  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// inBounds moves a time between the earliest and the latest that make sense.
func inBounds(at time.Time) time.Time {
	switch {
	case at.Before(firstInstant):
		return firstInstant
	case at.After(lastInstant):
		return lastInstant
	}
	return at
}

// bounds are the first microsecond of a day or time and the first one behind it.
func bounds(text string, zone *time.Location) (first, behind time.Time, err error) {
	if len(text) == len(time.DateOnly) {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return first, behind, ErrNoSuchTime
		}
		next := startOfDay(day.AddDate(0, 0, 1), zone)
		return inBounds(startOfDay(day, zone)), inBounds(next), nil
	}
	at, err := Time(text)
	if err != nil {
		return first, behind, err
	}
	whole := at.Truncate(time.Microsecond)
	if first = whole; whole.Before(at) {
		first = whole.Add(time.Microsecond)
	}
	return inBounds(first), inBounds(whole.Add(time.Microsecond)), nil
}

// StartOfDay is the first instant of the day in the zone that is some days behind the one of a
// time.
func StartOfDay(at time.Time, days int, zone *time.Location) time.Time {
	year, month, date := at.In(zone).Date()
	return startOfDay(time.Date(year, month, date+days, 0, 0, 0, 0, time.UTC), zone)
}

// startOfDay is the first instant of a day in the zone. time.Date takes one of the two offsets
// where clocks skip midnight or pass it twice, and does not say which.
func startOfDay(day time.Time, zone *time.Location) time.Time {
	year, month, date := day.Date()
	midnight := time.Date(year, month, date, 0, 0, 0, 0, zone)
	since, until := midnight.ZoneBounds()
	if !isOn(midnight, day) { // skipped: the day begins when the clocks have skipped it
		return until.UTC()
	}
	if last := since.Add(-time.Nanosecond); !since.IsZero() && isOn(last, day) { // the second midnight
		name, offset := last.Zone()
		midnight = time.Date(year, month, date, 0, 0, 0, 0, time.FixedZone(name, offset))
	}
	return midnight.UTC()
}

// isOn tells whether a time is on a day, as the clocks of its zone show it.
func isOn(at, day time.Time) bool { return at.Format(time.DateOnly) == day.Format(time.DateOnly) }

// Time reads an RFC 3339 time, in UTC without a zone. A leap second means the second after it. What
// is left to refuse here are days that do not exist, with ErrNoSuchTime.
func Time(text string) (time.Time, error) {
	text = strings.ToUpper(text)
	leap := len(text) >= 19 && text[17:19] == "60"
	if leap {
		text = text[:17] + "59" + text[19:]
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05", text)
	}
	if err != nil {
		return time.Time{}, ErrNoSuchTime
	}
	if leap {
		at = at.Truncate(time.Second).Add(time.Second)
	}
	if at.Before(firstInstant) {
		at = firstInstant
	}
	return at.UTC(), nil
}

// Buckets are the bounds of the days, or of the hours, that a time range touches, cut to the range.
// There is one bound more than there are buckets. Days are those of the zone, also where they have
// 23 or 25 hours; hours begin where the zone's clocks show a whole hour.
func Buckets(from, before time.Time, zone *time.Location, byDay bool) []time.Time {
	bounds := []time.Time{from.UTC()}
	next := func(at time.Time) time.Time {
		local := at.In(zone)
		if byDay {
			return StartOfDay(at, 1, zone)
		}
		into := time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second +
			time.Duration(local.Nanosecond())
		return at.Add(time.Hour - into).UTC()
	}
	for at := next(from); at.Before(before); at = next(at) {
		bounds = append(bounds, at)
	}
	return append(bounds, before.UTC())
}
