package store

import "context"

// sameContentQuery looks among originals and duplicates apart, because each has its index.
const sameContentQuery = `
	SELECT count(*) > 0 AS recorded, count(*) FILTER (WHERE state IN ('seen', 'queued', 'detecting')) = 0 AS decided
	FROM (
		SELECT state FROM images WHERE camera_id = $1 AND sha256 = $2 AND file_path = $3 AND ` + isOriginal + `
		UNION ALL
		SELECT state FROM images WHERE camera_id = $1 AND sha256 = $2 AND file_path = $3 AND reason = '` + ReasonDuplicate + `'
	) AS same`

// SameContent tells whether the ledger has these bytes, given by their hash, under the same path of
// the same camera already, whatever time the file bears: then they are the same image. A row whose
// bytes were lost before a detector saw them does not count. decided says that no such row waits
// for the detector any more, so that the answer stays true.
func (db *DB) SameContent(ctx context.Context, cameraID, path, sha256 string) (recorded, decided bool, err error) {
	var answer struct {
		Recorded bool `db:"recorded"`
		Decided  bool `db:"decided"`
	}
	err = db.get(ctx, "look for the same content", &answer, sameContentQuery, cameraID, sha256, path)
	return answer.Recorded, answer.Recorded && answer.Decided, err
}
