package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/server/pictures"
	"hsi.home.arpa/store"
)

// pictureOperations are those that answer with a file.
func pictureOperations() map[string]string {
	return map[string]string{
		"getCameraSnapshot": "camera front_door", "getEventImage": "event 311",
		"getDetectionImage": "detection 4711", "getDetectionOriginal": "detection 4711",
	}
}

func TestPictures_Serving(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	size := len(examplePicture)
	for id := range pictureOperations() {
		got := s.ask(t, id).want(t, 200)
		require.Equal(t, examplePicture, string(got.body))
		for name, value := range map[string]string{
			"Content-Type": "image/jpeg", "Content-Length": fmt.Sprint(size), "Etag": `"abc"`,
			"X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes",
			"Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "sandbox",
			"Last-Modified": "",
		} {
			require.Equal(t, value, got.Header.Get(name), "%s: %s", id, name)
		}
		want := "private, no-cache"
		if id == "getDetectionImage" {
			want = "private, max-age=31536000, immutable"
		}
		require.Equal(t, want, got.Header.Get("Cache-Control"), id)

		request := operationRequest()[id]
		head := s.send(t, http.MethodHead, request.target, "").want(t, 200)
		require.Equal(t, fmt.Sprint(size), head.Header.Get("Content-Length"), id)
		require.Equal(t, `"abc"`, head.Header.Get("Etag"))
		require.Empty(t, head.body)

		for _, known := range []string{`"abc"`, `W/"abc"`, `"x", "abc"`, "*"} {
			same := s.ask(t, id, header("If-None-Match", known)).want(t, 304)
			require.Equal(t, want, same.Header.Get("Cache-Control"), id)
			require.Empty(t, same.Header.Get("Content-Type"))
		}
		s.ask(t, id, func(r *http.Request) {
			r.Header["If-None-Match"] = []string{
				`"x"`,
				`"abc"`,
			}
		}).want(t, 304)
		s.ask(t, id, header("If-None-Match", `"other"`)).want(t, 200)

		part := s.ask(t, id, header("Range", "bytes=2-5")).want(t, 206)
		require.Equal(t, examplePicture[2:6], string(part.body))
		require.Equal(t, fmt.Sprintf("bytes 2-5/%d", size), part.Header.Get("Content-Range"))
		require.Equal(t, "image/jpeg", part.Header.Get("Content-Type"))
		require.Equal(t, examplePicture[size-3:], string(s.ask(t, id,
			header("Range", "bytes=-3")).want(t, 206).body))
		require.Equal(t, examplePicture[2:], string(s.ask(t, id, header("Range", "bytes=2-"),
			header("If-Range", `"abc"`)).want(t, 206).body))
		s.ask(t, id, header("Range", "bytes=2-5"), header("If-None-Match", `"abc"`)).want(t, 304)
		s.send(t, http.MethodHead, request.target, "", header("Range", "bytes=2-5")).want(t, 206)
		for name, whole := range map[string][]func(*http.Request){
			"several": {header("Range", "bytes=0-1,3-4")},
			"several lines": {func(r *http.Request) {
				r.Header["Range"] = []string{
					"bytes=0-1",
					"bytes=3-4",
				}
			}},
			"another one":  {header("Range", "bytes=2-5"), header("If-Range", `"other"`)},
			"another unit": {header("Range", "lines=1-2")},
			"nothing":      {header("Range", "bytes=")},
			"weak":         {header("Range", "bytes=2-5"), header("If-Range", `W/"abc"`)},
			"a date": {
				header("Range", "bytes=2-5"),
				header("If-Range", "Mon, 01 Jan 2024 00:00:00 GMT"),
			},
			"old conditions": {
				header("If-Modified-Since", "Mon, 01 Jan 2035 00:00:00 GMT"),
				header("If-Unmodified-Since", "Mon, 01 Jan 1990 00:00:00 GMT"),
			},
		} {
			require.Equal(t, examplePicture, string(s.ask(t, id, whole...).want(t, 200).body),
				"%s: %s", id, name)
		}
		for _, outside := range []string{"bytes=1000-", "bytes=5-2", "bytes=x", "bytes=1000-1001"} {
			got := s.ask(t, id, header("Range", outside)).want(t, 416)
			require.JSONEq(t, `{"detail":"The range lies outside of the file"}`, string(got.body),
				outside)
			require.NotEmpty(t, got.Header.Get("Content-Range"), outside)
			require.Empty(t, got.Header.Get("Etag"))
			require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
		}
		s.send(t, http.MethodHead, request.target, "", header("Range", "bytes=1000-")).want(t, 416)
	}
}

func TestPictures_WhyThereIsNone(t *testing.T) {
	t.Parallel()
	const secret = "/srv/cameras/front/1.jpg"
	for id, of := range pictureOperations() {
		kind, name, _ := strings.Cut(of, " ")
		kind = strings.ToUpper(kind[:1]) + kind[1:]
		for _, test := range []struct {
			err    error
			status int
			detail string
		}{
			{store.ErrNotFound, 404, kind + " with id " + name + " not found"},
			{pictures.ErrNone, 404, kind + " " + name + " has no picture"},
			{pictures.ErrForeign, 404, "The file of " + of + " lies outside of the media folders"},
			{
				pictures.ErrKind, 404,
				"The file of " + of + " is no picture or video that can be shown",
			},
			{pictures.ErrGone, 410, "The picture of " + of + " is gone"},
			{pictures.ErrReplaced, 410, "Another file has taken the place of the picture of " + of},
			{pictures.ErrBusy, 503, "Too many pictures are being made"},
		} {
			f := newFakes(t)
			f.pictures.err = fmt.Errorf("open %s: %w", secret, test.err)
			s := start(t, f)
			got := s.ask(t, id).want(t, test.status)
			require.JSONEq(t, fmt.Sprintf(`{"detail":%q}`, test.detail), string(got.body))
			require.Equal(t, test.status == 503, got.Header.Get("Retry-After") != "")
			require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
		}
	}
}

// TestPictures_OddIDs: what is no id is told so, and never looked for.
func TestPictures_OddIDs(t *testing.T) {
	t.Parallel()
	s := start(t, newFakes(t))
	for _, id := range []string{
		"0", "-1", "x", "1.0", "9007199254740992", "..%2F..%2Fetc%2Fpasswd",
		"1%00", "%2e%2e",
	} {
		for _, target := range []string{
			"/api/detections/%s/image", "/api/media/detections/%s",
			"/api/events/%s/image",
		} {
			s.get(t, fmt.Sprintf(target, id)).want(t, 422)
		}
	}
	for _, id := range []string{"a%2Fb", "..%2F..%2Fetc", "a%00", strings.Repeat("a", 256), "%ff"} {
		s.get(t, "/api/cameras/"+id+"/snapshot").want(t, 422)
	}
	for _, id := range []string{
		"front_door", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "%E5%89%8D",
		"a%20b", "..", "%25",
	} {
		s.get(t, "/api/cameras/"+id+"/snapshot").want(t, 200)
	}
}

func TestPictures_Widths(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	s := start(t, f)
	for target, usual := range map[string]int{
		"/api/events/311/image": 320, "/api/cameras/front_door/snapshot": 0, // 0: as it is
	} {
		s.get(t, target).want(t, 200)
		require.Equal(t, usual, f.pictures.lastWidth())
		for _, width := range []int{160, 320, 640} {
			s.get(t, fmt.Sprint(target, "?width=", width)).want(t, 200)
			require.Equal(t, width, f.pictures.lastWidth())
		}
		for _, width := range []string{
			"0", "320.0", "100", "641", "-160", "", "x", "160&width=320",
		} {
			s.get(t, target+"?width="+width).want(t, 422)
		}
	}
}

// TestPictures_Videos: an original may be one, and is served in parts.
func TestPictures_Videos(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.pictures.mediaType, f.pictures.content = "video/mp4", "\x00\x00\x00\x20ftypisom and so on"
	s := start(t, f)
	got := s.ask(t, "getDetectionOriginal", header("Range", "bytes=0-7")).want(t, 206)
	require.Equal(t, "video/mp4", got.Header.Get("Content-Type"))
	require.Len(t, got.body, 8)
}
