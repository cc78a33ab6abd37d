package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hsi.home.arpa/gen"
)

// keptHistories bounds how many answers are kept; one of 5,000 samples has about 1 MB.
const keptHistories = 16

// historyKey is what was asked for.
type historyKey struct {
	bounded bool // since counts
	since   time.Time
	limit   int32
}

func historyKeyOf(since *time.Time, limit int32) historyKey {
	if since == nil {
		return historyKey{limit: limit}
	}
	return historyKey{bounded: true, since: since.UTC(), limit: limit}
}

// keptHistory is an encoded answer and the state of the table that it was made from.
type keptHistory struct {
	revision string
	etag     string
	body     []byte
}

// histories keeps the answers that were asked for last.
type histories struct {
	mu   sync.Mutex
	kept *lru.Cache[historyKey, *keptHistory] // guarded by mu: looking up and replacing belong together
}

func newHistories() *histories {
	kept, err := lru.New[historyKey, *keptHistory](keptHistories)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &histories{kept: kept}
}

// get returns the kept answer when it was made from this revision, and makes it otherwise.
func (h *histories) get(key historyKey, revision string, read func() (gen.GPUHistory, error)) (*keptHistory, error) {
	h.mu.Lock()
	answer, found := h.kept.Get(key)
	h.mu.Unlock()
	if found && answer.revision == revision {
		return answer, nil
	}
	history, err := read()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(history)
	if err != nil {
		return nil, fmt.Errorf("encode the GPU history: %w", err)
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	answer = &keptHistory{revision: revision, etag: `"` + hex.EncodeToString(sum[:16]) + `"`, body: body}
	h.mu.Lock()
	h.kept.Add(key, answer) // another request may have put an older one meanwhile, or a newer one: the revision tells at the next look
	h.mu.Unlock()
	return answer, nil
}

// historyResponse writes an answer that is encoded already.
type historyResponse struct {
	*keptHistory

	notModified bool
}

// VisitListGPUHistoryResponse implements gen.ListGPUHistoryResponseObject.
func (r historyResponse) VisitListGPUHistoryResponse(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Etag", r.etag)
	header.Set("Cache-Control", "private, no-cache") // a browser may keep it, and asks each time whether it is still right
	if r.notModified {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(r.body)
	return err
}

// matches tells whether an If-None-Match header names the tag.
func matches(ifNoneMatch, etag string) bool {
	for candidate := range strings.SplitSeq(ifNoneMatch, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == etag || candidate == "*" {
			return true
		}
	}
	return false
}
