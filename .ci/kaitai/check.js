// Compiles format-spec/tinydb.ksy and compares what the parser finds with `tinydb dump --json`: in every good vector, in the
// files of every good database among the vectors, and in those of a database that the tool makes first. A block on its own is
// compared with its answer. Refused vectors are read as far as they can be: who checks no rule believes them, or ends with an error.
//
//     node check.js FOLDER-WITH-NODE_MODULES TINYDB
//
// Numbers are compared as JavaScript has them, which rounds those above 2^53 on both sides alike.
'use strict'
const fs = require('fs'), os = require('os'), path = require('path'), { spawnSync } = require('child_process')
const [modules, tinydb] = process.argv.slice(2)
const load = name => require(path.resolve(modules, 'node_modules', name))
const compiler = load('kaitai-struct-compiler'), yaml = load('yaml')
const KaitaiStream = load('kaitai-struct').KaitaiStream || load('kaitai-struct/KaitaiStream')
const spec = path.resolve(__dirname, '../../format-spec')

const camel = name => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
const hex = bytes => Buffer.from(bytes).toString('hex')
const kinds = ['Put', 'Delete', 'Merge', 'RangeDelete']
let compared = 0

function same(found, expected, what) {
  compared += 1
  if (found !== expected) throw new Error(`${what}: found ${found}, expected ${expected}`)
}

// The parts that the parser has under the titles of a dump, in its order.
function parts(file) {
  const all = {}
  if (file.regions || file.blocks) {
    all['table header'] = file.header
    all.footer = file.footer
    all['end of the footer'] = file.footer
    file.footer.regions.forEach((entry, i) => {
      all[`directory entry ${i}`] = entry
      const name = { 3: 'filter', 4: 'index', 5: 'properties', 6: 'range tombstones' }[entry.kind]
      const region = `region of ${entry.len} bytes`
      if (name) all[name] = entry.body
      if (entry.chunkChecksums) same(entry.chunkChecksums.length, Math.ceil(entry.len / 4096), region)
    })
    file.blocks.forEach((place, i) => { all[`block ${i}`] = place.block })
  } else if (file.tables) {
    all['manifest header'] = file.header
    file.tables.forEach((row, i) => { all[`table ${i}`] = row })
  } else {
    all['log header'] = file.header
  }
  return all
}

function checkRow(row, line, block) {
  const where = `row ${line.row} of ${line.part}`
  same(hex(block.prefix) + hex(row.suffix), line.key, `${where}: key`)
  same(kinds[row.kind], line.name, `${where}: kind`)
  for (const name of ['seqno', 'expiry']) same(row[name], line[name], `${where}: ${name}`)
  same(row.reference !== undefined, 'reference' in line, `${where}: place of its value`)
  same(hex(row.reference ? row.reference.value : row.stored), line.value, `${where}: value`)
  if (row.reference) same(row.reference.index, line.reference, `${where}: reference`)
}

function checkOperation(op, line, seqno) {
  same(kinds[op.kind], line.name, 'operation')
  same(seqno, line.seqno, 'seqno')
  same(hex(op.key), line.name === 'RangeDelete' ? line.start : line.key, 'key')
  const end = op.hasNoEnd ? null : hex(op.value)
  same(end, line.name === 'RangeDelete' ? line.end : line.value, 'value')
  if ('expiry' in line) same(op.expiry, line.expiry, 'expiry')
}

function check(parser, file) {
  const dump = spawnSync(tinydb, ['dump', '--json', file], { maxBuffer: 1 << 28, encoding: 'utf8' })
  if (dump.error || dump.stderr) throw dump.error || new Error(dump.stderr)
  const lines = dump.stdout.trim().split('\n').map(line => JSON.parse(line))
  const root = new parser(new KaitaiStream(fs.readFileSync(file)))
  const all = parts(root.file)
  let record = -1, operation = 0
  for (const line of lines) {
    if (line.part && !line.name && /^(batch|seal|torn|damaged)/.test(line.part)) { record += 1; operation = 0 }
    if (!line.name) continue
    const region = line.part.match(/^region of .*: (.*)$/)
    const part = region ? all[region[1]] : line.spec === '07-log.md, Records' ? root.file.records[record] : all[line.part]
    if ('row' in line) checkRow(part.rows[line.row], line, part)
    else if (line.start !== undefined && line.name.startsWith('fragment')) {
      const fragment = part.fragments[Number(line.name.slice(9))]
      same(hex(fragment.start), line.start, 'start')
      same(fragment.hasNoEnd ? null : hex(fragment.end), line.end, 'end')
      same(fragment.seqno, line.seqno, 'seqno')
    } else if (line.name.startsWith('separator ')) {
      const i = Number(line.name.slice(10)), offsets = part.separatorOffsets
      same(hex(part.separators.bytes.slice(offsets[i], offsets[i + 1])), line.value, line.name)
    } else if (kinds.includes(line.name)) {
      checkOperation(part.payload.operations[operation], line, part.firstSeqno + operation)
      operation += 1
    } else if (part && 'value' in line) {
      const name = camel(line.name)
      const found = part[name] !== undefined ? part[name] : part.preamble && part.preamble[name]
      if (typeof line.value === 'number') same(found, line.value, `${line.part}: ${line.name}`)
      else if (typeof line.value === 'string' && found !== undefined) same(hex(found), line.value, `${line.part}: ${line.name}`)
    }
  }
  if (root.file.tables) {
    const keys = lines.filter(line => /est key$/.test(line.name || '')).map(line => line.value)
    same(root.file.tables.flatMap(row => [hex(row.smallest), hex(row.largest)]).join(), keys.join(), 'keys')
  }
}

// A block that stands for itself, and its answer: it has no file around it, so only what lies in the block is there.
function checkBlock(parser, file, answer) {
  const at = answer.file_offset, bytes = Buffer.concat([Buffer.alloc(at), fs.readFileSync(file)])
  const stream = new KaitaiStream(bytes)
  stream.seek(at)
  const block = new parser.DataBlock(stream, null, null, at), expected = answer.blocks[0]
  for (const name in expected) if (name !== 'offset') same(block[camel(name)], expected[name], name)
  same(block.rowCount, answer.rows.length, 'rows')
  answer.rows.forEach(([key, seqno, kind, expiry, value], i) => {
    const row = block.rows[i]
    same(hex(block.prefix) + hex(row.suffix), key, `key of row ${i}`)
    same(kinds[row.kind].toLowerCase(), kind, `kind of row ${i}`)
    same(row.seqno, seqno, `seqno of row ${i}`)
    same(row.expiry, expiry, `expiry of row ${i}`)
    if (!value.includes(' ')) same(hex(row.stored), value, `value of row ${i}`)
    else same(`${row.stored.length} bytes`, value.split(',')[0], `length of the value of row ${i}`)
  })
}

// Every kind of file, with every kind of operation.
function makeDatabase() {
  const directory = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'tinydb-')), 'db')
  const run = (...words) => {
    const { status, stderr } = spawnSync(tinydb, words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`tinydb ${words.join(' ')}: ${stderr}`)
  }
  run('merge', directory, 'list', 'a', '--operator', 'append', '--separator', ',')
  for (let i = 0; i < 30; i++) run('put', directory, `tenant-0000000000-${i}`, 'value '.repeat(i * i))
  run('put', directory, 'session', 'gone soon', '--ttl', '86400')
  run('delete-range', directory, '--from', 'tenant-0000000000-2', '--to', 'tenant-0000000000-25')
  run('compact', directory)
  run('merge', directory, 'list', 'b')
  run('delete', directory, 'tenant-0000000000-1')
  run('delete-range', directory, '--from', 'x', '--to', 'y')
  run('put', directory, 'newest', '')
  return directory
}

const filesOf = directory => fs.readdirSync(directory).filter(name => /^(LOG|MANIFEST|TABLE)-/.test(name)).sort()
  .map(name => path.join(directory, name))

async function main() {
  const ksy = yaml.parse(fs.readFileSync(path.join(spec, 'tinydb.ksy'), 'utf8'))
  const files = await compiler.compile('javascript', ksy, null, false)
  const module_ = { exports: {} }
  const stub = name => (name.endsWith('KaitaiStream') ? KaitaiStream : {})
  new Function('module', 'exports', 'require', files['Tinydb.js'])(module_, module_.exports, stub)
  const parser = module_.exports.Tinydb || module_.exports
  const vectors = path.join(spec, 'vectors')
  const index = JSON.parse(fs.readFileSync(path.join(vectors, 'index.json'), 'utf8'))
  const good = index.vectors.filter(it => it.verdict === 'good')
  const whole = index.databases.filter(it => it.verdict === 'good').flatMap(it => filesOf(path.join(vectors, it.directory)))
  const made = makeDatabase()
  const seen = { TABLE: 0, LOG: 0, MANIFEST: 0 }
  const count = (file, check) => {
    const before = compared
    try { check() } catch (error) { throw new Error(`${file}: ${error.stack}`) }
    console.log(`${path.relative(spec, file)}: ${compared - before} values are the same`)
  }
  for (const { file, kind, answer } of good) {
    const place = path.join(vectors, file)
    count(place, () => {
      const expected = JSON.parse(fs.readFileSync(path.join(vectors, answer), 'utf8'))
      if (kind === 'block') return checkBlock(parser, place, expected)
      if (expected.header !== null) return check(parser, place)
      // Cut off inside its header: no parser without rules can read it.
      try { new parser(new KaitaiStream(fs.readFileSync(place))) } catch (error) { return same(error.name, 'EOFError', 'error') }
      throw new Error('it is read')
    })
  }
  for (const file of [...whole, ...filesOf(made)]) {
    count(file, () => check(parser, file))
    if (file.startsWith(made)) seen[path.basename(file).split('-')[0]] += 1
  }
  if (Object.values(seen).includes(0)) throw new Error(`the new database lacks a kind of file: ${JSON.stringify(seen)}`)
  fs.rmSync(path.dirname(made), { recursive: true })
  const refused = index.vectors.filter(it => it.verdict !== 'good')
  const isBelieved = ({ file }) => {
    try { check(parser, path.join(vectors, file)) } catch { return false }
    return true
  }
  const believed = refused.filter(isBelieved).length
  if (good.length < 20 || compared < 2000) throw new Error('hardly anything was compared')
  console.log(`${good.length} good vectors, ${whole.length} files of databases, ${refused.length} refused vectors `
    + `(${believed} read to their end), ${compared} values`)
}

main().catch(error => { console.error(error.message || error); process.exit(1) })
