package store

import (
	"context"
	"crypto/md5" //nolint:gosec // tells files apart, as the SQL function image_identity does; nothing is secret
	"encoding/hex"
	"strconv"
	"time"

	"github.com/lib/pq"
)

// Most scans find all files recorded, and counting is all that it takes. The array is hidden from
// the planner, which would read the whole table for a long one.
const (
	countKnownQuery = `SELECT count(*) FROM images WHERE identity = ANY (ARRAY(SELECT unnest($1::uuid[])))`
	listKnownQuery  = `SELECT identity::text FROM images WHERE identity = ANY (ARRAY(SELECT unnest($1::uuid[])))`
)

// KnownImages tells for each key, in the same order, whether the ledger has it. One query serves
// thousands.
func (db *DB) KnownImages(ctx context.Context, keys []ImageKey) ([]bool, error) {
	known := make([]bool, len(keys))
	if len(keys) == 0 {
		return known, nil
	}
	identities := make(pq.StringArray, len(keys))
	var text []byte
	for i, key := range keys {
		identities[i], text = key.identity(text[:0])
	}
	var count int
	if err := db.get(ctx, "look up images", &count, countKnownQuery, identities); err != nil || count == 0 {
		return known, err
	}
	var found map[string]struct{} // nil: all
	if count < len(keys) {
		list, err := list[string](ctx, db, "look up images", listKnownQuery, identities)
		if err != nil {
			return nil, err
		}
		found = make(map[string]struct{}, len(list))
		for _, identity := range list {
			found[identity] = struct{}{}
		}
	}
	for i, identity := range identities {
		_, known[i] = found[identity]
		known[i] = known[i] || found == nil
	}
	return known, nil
}

// identity is what the column of that name holds for the key, as image_identity computes it. It is
// computed here because the database takes longer for that than to find it. text is room for the
// work, which is returned for the next call.
func (k ImageKey) identity(text []byte) (identity string, room []byte) {
	text = append(append(text, k.CameraID...), '\n')
	text = append(append(text, k.FilePath...), '\n')
	text = append(strconv.AppendInt(text, k.SizeBytes, 10), '\n')
	text = appendEpoch(text, storable(k.ModTime))
	sum := md5.Sum(text) //nolint:gosec // see above
	var form [36]byte
	at := 0
	for i, part := range [...][]byte{sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:]} {
		if i > 0 {
			form[at] = '-'
			at++
		}
		at += hex.Encode(form[at:], part)
	}
	return string(form[:]), text
}

// appendEpoch writes the seconds since the year 2000 with six decimals.
func appendEpoch(text []byte, t time.Time) []byte {
	const second = 1_000_000
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	micros := t.UnixMicro() - epoch.UnixMicro()
	if micros < 0 {
		text = append(text, '-')
		micros = -micros
	}
	text = strconv.AppendInt(text, micros/second, 10)
	text = append(text, '.')
	for unit := int64(second / 10); unit > 0; unit /= 10 {
		text = append(text, byte('0'+micros/unit%10))
	}
	return text
}
