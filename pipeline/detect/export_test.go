package detect

// Count counts one image, as a worker does.
func Count(a *Activity) { a.add() }
