meta:
  id: tinydb
  title: Files of TinyDB (tables, logs and manifests)
  license: MIT OR Apache-2.0
  ks-version: '0.10'
  endian: le
doc: |
  What stands where, for Kaitai Struct; the chapters of format-spec/ say what it means. It is for looking at files and for
  first readers: it checks no checksum and hardly any of the numbered rules, so it believes a damaged file. The names are those
  of the chapters. A table's region of each kind is looked for in the first eight entries of the directory.
doc-ref: format-spec/README.md
seq:
  - id: file
    type:
      switch-on: kind_of_file
      cases:
        'file_kind::table': table
        'file_kind::log': log
        'file_kind::manifest': manifest
instances:
  kind_of_file:
    pos: 4
    type: u4be
    enum: file_kind
    doc: The second half of the magic.
enums:
  file_kind:
    0x53535401: table
    0x4c4f4701: log
    0x4d414e01: manifest
  region_kind:
    1: data
    2: values
    3: filter
    4: index
    5: properties
    6: range_tombstones
  record_kind:
    0: none
    1: batch
    2: seal
  operation_kind:
    0: put
    1: delete
    2: merge
    3: range_delete
types:

  # ---- chapter 01 ----
  preamble:
    seq:
      - { id: magic, size: 8 }
      - { id: format_major, type: u2 }
      - { id: format_minor, type: u2 }
      - { id: features_required, type: u4 }
      - { id: features_optional, type: u4 }

  # ---- chapter 03 ----
  table:
    seq:
      - { id: header, type: file_header }
    instances:
      footer:
        pos: _io.size - 4096
        size: 4096
        type: footer
      index_number:
        doc: The directory's entry of the index.
        value: >-
          footer.regions[0].is_index ? 0 : footer.regions[1].is_index ? 1 : footer.regions[2].is_index ? 2
          : footer.regions[3].is_index ? 3 : footer.regions[4].is_index ? 4 : footer.regions[5].is_index ? 5
          : footer.regions[6].is_index ? 6 : 7
      data_number:
        value: >-
          footer.regions[0].is_data ? 0 : footer.regions[1].is_data ? 1 : footer.regions[2].is_data ? 2
          : footer.regions[3].is_data ? 3 : footer.regions[4].is_data ? 4 : footer.regions[5].is_data ? 5
          : footer.regions[6].is_data ? 6 : 7
      values_number:
        doc: Only for tables with values out of line.
        value: >-
          footer.regions[0].is_values ? 0 : footer.regions[1].is_values ? 1 : footer.regions[2].is_values ? 2
          : footer.regions[3].is_values ? 3 : footer.regions[4].is_values ? 4 : footer.regions[5].is_values ? 5
          : footer.regions[6].is_values ? 6 : 7
      index:
        value: footer.regions[index_number].body.as<index>
      blocks:
        type: block_place(_index)
        repeat: expr
        repeat-expr: index.block_count
  file_header:
    seq:
      - { id: preamble, type: preamble }
      - { id: reserved, type: u4 }
      - { id: file_id, type: u8 }
      - { id: hash_seed, type: u8 }
      - { id: reserved_tail, size: 16 }
      - { id: checksum, type: u8 }
  footer:
    seq:
      - { id: preamble, type: preamble, doc: 'As in the header, but for the magic.' }
      - { id: region_count, type: u4 }
      - { id: file_id, type: u8 }
      - { id: file_len, type: u8 }
      - { id: row_count, type: u8 }
      - { id: min_seqno, type: u8 }
      - { id: max_seqno, type: u8 }
      - { id: reserved, size: 16 }
      - id: regions
        type: region_entry
        repeat: expr
        repeat-expr: region_count
      - { id: zeros, size: _io.size - _io.pos - 8 }
      - { id: checksum, type: u8 }
  region_entry:
    seq:
      - { id: kind, type: u4, enum: region_kind }
      - { id: flags, type: u4, doc: '1 critical, 2 chunked' }
      - { id: offset, type: u8 }
      - { id: len, type: u8 }
      - { id: checksum, type: u8 }
    instances:
      is_data:
        value: kind == region_kind::data
      is_values:
        value: kind == region_kind::values
      is_index:
        value: kind == region_kind::index
      body:
        io: _root._io
        pos: offset
        size: len
        type:
          switch-on: kind
          cases:
            'region_kind::filter': filter
            'region_kind::index': index
            'region_kind::properties': properties
            'region_kind::range_tombstones': range_tombstones
            _: raw
      chunk_checksums:
        if: flags & 2 != 0
        io: _root._io
        pos: offset + (len + 7) / 8 * 8
        type: u8
        repeat: expr
        repeat-expr: (len + 4095) / 4096
  raw:
    seq:
      - { id: bytes, size-eos: true }
  properties:
    seq:
      - { id: database_id, type: u8 }
      - { id: file_number, type: u8 }
      - { id: key_count, type: u8 }
      - { id: delete_count, type: u8 }
      - { id: merge_count, type: u8 }
      - { id: expiring_count, type: u8 }
      - { id: reference_count, type: u8 }
      - { id: key_bytes, type: u8 }
      - { id: value_bytes, type: u8 }
      - { id: min_expiry, type: u8 }
      - { id: block_count, type: u4 }
      - { id: operator_len, type: u4 }
      - { id: smallest_len, type: u2 }
      - { id: largest_len, type: u2 }
      - { id: range_tombstone_count, type: u8 }
      - { id: reserved, size: 28 }
      - { id: smallest_key, size: smallest_len }
      - { id: largest_key, size: largest_len }
      - { id: operator, size: operator_len }
  value_ref:
    seq:
      - { id: offset, type: u8 }
      - { id: len, type: u4 }
      - { id: index, type: u4 }
      - { id: checksum, type: u8 }
    instances:
      table:
        value: _root.file.as<table>
      value:
        io: _root._io
        pos: table.footer.regions[table.values_number].offset + offset
        size: len

  # ---- chapter 04 ----
  block_place:
    params:
      - { id: number, type: u4 }
    instances:
      table:
        value: _root.file.as<table>
      at:
        value: >-
          table.footer.regions[table.data_number].offset
          + (table.index.is_uniform ? number * table.index.block_size : table.index.block_offsets[number] * 64)
      block:
        io: _root._io
        pos: at
        type: data_block(at)
  data_block:
    params:
      - { id: at, type: u8 }
    seq:
      - { id: checksum, type: u8 }
      - { id: block_len, type: u4 }
      - { id: row_count, type: u2 }
      - { id: prefix_len, type: u2 }
      - { id: key_heap_len, type: u4 }
      - { id: value_heap_len, type: u4 }
      - { id: value_stride, type: u4 }
      - { id: key_stride, type: u2 }
      - { id: columns, type: u1 }
      - { id: widths, type: u1 }
      - { id: fingerprints, type: u1, repeat: expr, repeat-expr: row_count }
      - { id: fingerprints_padding, size: (16 - row_count % 16) % 16 }
      - { id: key_offsets, type: offsets(row_count + 1), if: key_stride == 0xffff }
      - { id: value_offsets, type: offsets(row_count + 1), if: value_stride == 0xffffffff }
      - { id: prefix, size: prefix_len }
      - { id: seqnos, type: 'numbers(row_count, widths & 7)', if: columns & 2 != 0 }
      - { id: kinds, type: u1, repeat: expr, repeat-expr: row_count, if: columns & 4 != 0 }
      - { id: expiries, type: 'numbers(row_count, widths >> 3)', if: columns & 8 != 0 }
      - { id: keys, size: key_heap_len, type: raw }
      - { id: values, size: value_heap_len, type: raw }
      - { id: padding, size: at + block_len - _io.pos }
    instances:
      goes_on:
        value: columns & 16 != 0
      rows:
        type: row(_index)
        repeat: expr
        repeat-expr: row_count
  offsets:
    params:
      - { id: count, type: u4 }
    seq:
      - id: all
        type:
          switch-on: _parent.as<data_block>.columns & 1
          cases:
            0: u2
            1: u4
        repeat: expr
        repeat-expr: count
  numbers:
    params:
      - { id: count, type: u4 }
      - { id: width, type: u1 }
    seq:
      - { id: base, type: u8 }
      - id: deltas
        if: width != 7
        type:
          switch-on: width
          cases:
            0: u1
            1: u2
            2: u4
            3: u8
        repeat: expr
        repeat-expr: count
  row:
    params:
      - { id: number, type: u4 }
    instances:
      block:
        value: _parent.as<data_block>
      key_start:
        value: 'block.key_stride == 0xffff ? block.key_offsets.all[number] : number * block.key_stride'
      key_end:
        value: 'block.key_stride == 0xffff ? block.key_offsets.all[number + 1] : (number + 1) * block.key_stride'
      value_start:
        value: 'block.value_stride == 0xffffffff ? block.value_offsets.all[number] : number * block.value_stride'
      value_end:
        value: >-
          block.value_stride == 0xffffffff ? block.value_offsets.all[number + 1] : (number + 1) * block.value_stride
      suffix:
        doc: The key without the prefix of its block.
        io: block.keys._io
        pos: key_start
        size: key_end - key_start
      stored:
        doc: The value, or the reference to it.
        io: block.values._io
        pos: value_start
        size: value_end - value_start
      seqno:
        value: >-
          block.columns & 2 == 0 ? 0 : block.seqnos.width == 7 ? block.seqnos.base
          : block.seqnos.base + block.seqnos.deltas[number]
      tag:
        value: 'block.columns & 4 == 0 ? 0 : block.kinds[number]'
      kind:
        value: tag & 15
        enum: operation_kind
      expiry:
        value: >-
          block.columns & 8 == 0 ? 0 : block.expiries.width == 7 ? block.expiries.base
          : block.expiries.deltas[number] == 0 ? 0 : block.expiries.base + block.expiries.deltas[number] - 1
      reference:
        if: tag & 16 != 0
        io: block.values._io
        pos: value_start
        type: value_ref

  # ---- chapter 05 ----
  index:
    seq:
      - { id: magic, contents: TDIX }
      - { id: block_count, type: u4 }
      - { id: prefix_len, type: u2 }
      - { id: head_offset, type: u2 }
      - { id: flags, type: u1 }
      - { id: level_count, type: u1 }
      - { id: tie_offset, type: u2 }
      - { id: block_size, type: u4 }
      - { id: separators_len, type: u4 }
      - { id: reserved_tail, size: 40 }
      - { id: prefix, size: prefix_len }
      - { id: prefix_padding, size: (128 - (64 + prefix_len) % 128) % 128 }
      - { id: upper_levels, type: 'level(level_count - 1 - _index)', repeat: expr, repeat-expr: level_count - 1 }
      - id: upper_tie_levels
        type: level(level_count - 1 - _index)
        repeat: expr
        repeat-expr: 'has_ties ? level_count - 1 : 0'
      - { id: heads, type: level(0) }
      - { id: tie_heads, type: level(0), if: has_ties }
      - { id: block_offsets, type: u4, repeat: expr, repeat-expr: block_count + 1, if: not is_uniform }
      - { id: separator_offsets, type: u4, repeat: expr, repeat-expr: block_count + 1 }
      - { id: separators, size: separators_len, type: raw }
    instances:
      is_uniform:
        value: flags & 1 != 0
      some_key_goes_on:
        value: flags & 2 != 0
      has_ties:
        value: flags & 4 != 0
  level:
    doc: A level of the search tree, `above` levels above the heads.
    params:
      - { id: above, type: u1 }
    seq:
      - { id: entries, type: u8, repeat: expr, repeat-expr: entry_count }
      - { id: filling, type: u8, repeat: expr, repeat-expr: (16 - entry_count % 16) % 16 }
    instances:
      entry_count:
        value: (_parent.as<index>.block_count + (1 << 4 * above) - 1) / (1 << 4 * above)

  # ---- chapter 06 ----
  filter:
    seq:
      - { id: magic, contents: TDBF }
      - { id: algorithm, type: u4 }
      - { id: block_count, type: u4 }
      - { id: reserved, type: u4 }
      - { id: key_count, type: u8 }
      - { id: reserved_tail, size: 40 }
      - { id: blocks, type: filter_block, repeat: expr, repeat-expr: block_count }
  filter_block:
    seq:
      - { id: words, type: u4, repeat: expr, repeat-expr: 8 }

  # ---- chapter 07 ----
  log:
    seq:
      - { id: header, type: log_header }
      - { id: operator, size: header.operator_len }
      - { id: operator_padding, size: (8 - header.operator_len % 8) % 8 }
      - id: records
        if: _io.size - _io.pos >= 48
        type: record
        repeat: until
        repeat-until: _.kind != record_kind::batch or _io.size - _io.pos < 48
        doc: |
          The last one is no batch, unless the file ends with one: it is the seal, or zeros. What a crash left, or damage, is
          told by checksums only, which are not looked at here.
  log_header:
    seq:
      - { id: preamble, type: preamble }
      - { id: operator_len, type: u4 }
      - { id: log_number, type: u8 }
      - { id: database_id, type: u8 }
      - { id: hash_seed, type: u8 }
      - { id: manifest_number, type: u8 }
      - { id: previous_log, type: u8 }
      - { id: first_seqno, type: u8 }
      - { id: reserved, size: 40 }
      - { id: operator_checksum, type: u8 }
      - { id: checksum, type: u8 }
  record:
    seq:
      - { id: header_checksum, type: u8 }
      - { id: payload_checksum, type: u8 }
      - { id: payload_len, type: u8 }
      - { id: first_seqno, type: u8 }
      - { id: synced_upto, type: u8 }
      - { id: op_count, type: u4 }
      - { id: kind, type: u1, enum: record_kind }
      - { id: reserved, size: 3 }
      - { id: payload, size: payload_len, type: payload(op_count), if: kind == record_kind::batch }
      - { id: payload_padding, size: (8 - payload_len % 8) % 8, if: kind == record_kind::batch }
  payload:
    params:
      - { id: op_count, type: u4 }
    seq:
      - { id: operations, type: operation, repeat: expr, repeat-expr: op_count }
  operation:
    seq:
      - { id: tag, type: u1 }
      - { id: tree_id, type: u4 }
      - { id: key_len, type: u2 }
      - { id: value_len, type: u4 }
      - { id: stored_expiry, type: u8, if: tag & 0x80 != 0 }
      - { id: key, size: key_len }
      - { id: value, size: value_len, doc: 'Of a range delete: its end.' }
    instances:
      kind:
        value: tag & 15
        enum: operation_kind
      has_no_end:
        value: tag & 16 != 0
      expiry:
        value: 'tag & 0x80 != 0 ? stored_expiry : 0'

  # ---- chapter 08 ----
  manifest:
    seq:
      - { id: header, type: manifest_header }
      - { id: tables, type: table_row, repeat: expr, repeat-expr: header.table_count }
      - { id: operator, size: header.operator_len }
  manifest_header:
    seq:
      - { id: preamble, type: preamble }
      - { id: table_count, type: u4 }
      - { id: operator_len, type: u4 }
      - { id: tree_count, type: u4 }
      - { id: file_len, type: u8 }
      - { id: manifest_number, type: u8 }
      - { id: database_id, type: u8 }
      - { id: hash_seed, type: u8 }
      - { id: next_file_number, type: u8 }
      - { id: last_seqno, type: u8 }
      - { id: oldest_log, type: u8 }
      - { id: reserved, size: 24 }
      - { id: body_checksum, type: u8 }
      - { id: checksum, type: u8 }
  table_row:
    seq:
      - { id: tree_id, type: u4 }
      - { id: level, type: u4 }
      - { id: file_number, type: u8 }
      - { id: file_id, type: u8 }
      - { id: file_len, type: u8 }
      - { id: checksum, type: u8 }
      - { id: row_count, type: u8 }
      - { id: min_seqno, type: u8 }
      - { id: max_seqno, type: u8 }
      - { id: keys_offset, type: u8 }
      - { id: smallest_len, type: u2 }
      - { id: largest_len, type: u2 }
      - { id: range_tombstone_count, type: u8 }
      - { id: cleared_seqno, type: u8 }
      - { id: reserved, size: 4 }
    instances:
      smallest:
        io: _root._io
        pos: keys_offset
        size: smallest_len
      largest:
        io: _root._io
        pos: keys_offset + smallest_len
        size: largest_len

  # ---- chapter 09 ----
  range_tombstones:
    seq:
      - { id: magic, contents: TDBR }
      - { id: reserved, type: u4 }
      - { id: count, type: u8 }
      - { id: keys_len, type: u8 }
      - { id: reserved_tail, type: u8 }
      - { id: fragments, type: fragment, repeat: expr, repeat-expr: count }
      - { id: keys, size: keys_len }
  fragment:
    seq:
      - { id: seqno, type: u8 }
      - { id: keys_offset, type: u8 }
      - { id: start_len, type: u2 }
      - { id: end_len, type: u2 }
      - { id: flags, type: u4 }
    instances:
      start:
        io: _parent._io
        pos: keys_offset
        size: start_len
      end:
        io: _parent._io
        pos: keys_offset + start_len
        size: end_len
      has_no_end:
        value: flags & 1 != 0
