package typesource

// rowSize is the length of one row of a metadata table, ECMA-335 §II.22: it depends on how large the heaps and the
// other tables are. Only tables up to ManifestResource are laid out, which is all that has to be stepped over.
func (m *metadata) rowSize(table int) int {
	s, g, b := 2+2*int(m.heaps&1), 2+int(m.heaps&2), 2+int(m.heaps&4)/2
	r := m.simple
	typeDefOrRef := m.coded(2, 2, tableTypeRef, 27)
	customAttribute := m.coded(5, 6, 4, 1, 2, 8, 9, 10, 0, 14, 23, 20, 17, 26, 27, 32, 35, 38, 39, 40, 42, lastTable, 43)
	constant := m.coded(2, 4, 8, 23)
	sizes := [...]int{
		0: 2 + s + 3*g, 1: m.coded(2, 0, 26, 35, tableTypeRef) + 2*s, 2: 4 + 2*s + typeDefOrRef + r(4) + r(6),
		3: r(4), 4: 2 + s + b, 5: r(6), 6: 8 + s + b + r(8), 7: r(8), 8: 4 + s, 9: r(2) + typeDefOrRef,
		10: m.coded(3, 2, tableTypeRef, 26, 6, 27) + s + b, 11: 2 + constant + b, 12: customAttribute + m.coded(3, 6, 10) + b,
		13: m.coded(1, 4, 8) + b, 14: 2 + m.coded(2, 2, 6, 32) + b, 15: 6 + r(2), 16: 4 + r(4), 17: b,
		18: r(2) + r(20), 19: r(20), 20: 2 + s + typeDefOrRef, 21: r(2) + r(23), 22: r(23), 23: 2 + s + b,
		24: 2 + r(6) + m.coded(1, 20, 23), 25: r(2) + 2*m.coded(1, 6, 10), 26: s, 27: b,
		28: 2 + m.coded(1, 4, 6) + s + r(26), 29: 4 + r(4), 30: 8, 31: 4, 32: 16 + b + 2*s, 33: 4, 34: 12,
		35: 12 + 2*b + 2*s, 36: 4 + r(35), 37: 12 + r(35), 38: 4 + s + b, 39: 8 + 2*s + m.coded(2, 38, 35, 39),
		tableManifestResource: 8 + s + m.coded(2, 38, 35, 39),
	}
	return sizes[table]
}

// simple is the size of an index into one table.
func (m *metadata) simple(table int) int {
	if m.rows[table] >= 1<<16 {
		return 4
	}
	return 2
}

// coded is the size of an index into one of several tables, told apart by some low bits.
func (m *metadata) coded(tagBits int, tables ...int) int {
	for _, t := range tables {
		if m.rows[t] >= 1<<(16-tagBits) {
			return 4
		}
	}
	return 2
}
