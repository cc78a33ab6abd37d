package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"hsi.home.arpa/pipeline/video"
)

// Reasons for which a file is recorded as filtered. ReasonDuplicate is written by the store.
const (
	ReasonEmptyFile        = "empty_file"        // no bytes, and none came for a while
	ReasonNotAnImage       = "not_an_image"      // named like an image, but it is none
	ReasonTruncated        = "truncated"         // the image has no end, and none came for a while
	ReasonTooLarge         = "too_large"         // too many bytes
	ReasonTooManyPixels    = "too_many_pixels"   // would need too much memory to decode
	ReasonNameNotUTF8      = "name_not_utf8"     // cannot be stored; the row has the name with its odd bytes written as \xNN
	ReasonSymlinkOutside   = "symlink_outside"   // a link to a file outside of the camera folders
	ReasonVideoUnsupported = "video_unsupported" // a video, and there is no ffmpeg to take images out of it
)

// Reasons for which a file is only waited for; they are never recorded.
const (
	reasonChanging   = "changing"
	reasonUnreadable = "unreadable" // we may not read it; somebody may mend that at any time
)

// kind is what a file is by its name.
type kind int

const (
	ignored kind = iota // none of our business
	image
	movie
)

// kindOf tells by the name what a file may be. Names under which programs write before they rename
// are ignored until then.
func kindOf(name string) kind {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
		return ignored
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp":
		return image
	}
	if video.MediaType(name) != "" {
		return movie
	}
	return ignored
}

// ignoredFolder tells folders that file systems and storage devices make for themselves.
func ignoredFolder(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "@") || strings.HasPrefix(name, "#") || name == "lost+found"
}

// CameraID makes the id of a camera out of the name of its folder: lower case, spaces and hyphens
// as underscores, everything else that is no letter, digit or underscore left out, underscores
// collapsed and trimmed. A name of which nothing is left gets an id made of its hash.
func CameraID(folder string) string {
	var b strings.Builder
	pending := false // an underscore is due before the next letter
	for _, r := range strings.ToLower(strings.ToValidUTF8(folder, "")) {
		switch {
		case r == '_' || r == '-' || unicode.IsSpace(r):
			pending = b.Len() > 0
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if pending {
				b.WriteByte('_')
				pending = false
			}
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 {
		sum := sha256.Sum256([]byte(folder))
		return "camera_" + hex.EncodeToString(sum[:4])
	}
	return b.String()
}

// storablePath is a path in a form that the database takes: bytes that are no UTF-8 are written as
// \xNN. Different paths stay different.
func storablePath(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	var b strings.Builder
	for len(path) > 0 {
		r, size := utf8.DecodeRuneInString(path)
		if r == utf8.RuneError && size <= 1 {
			fmt.Fprintf(&b, `\x%02x`, path[0])
		} else {
			b.WriteString(path[:size])
		}
		path = path[size:]
	}
	return b.String()
}

// cameraFolder returns the first folder below root on the way to path; false for a file that lies
// in root itself or outside.
func cameraFolder(root, path string) (folder string, ok bool) {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return "", false
	}
	folder, rest, ok := strings.Cut(rel, string(filepath.Separator))
	return folder, ok && rest != "" && folder != ".."
}
