// Compiles format-spec/tinydb.ksy and compares what the parser finds in the good vectors with `tinydb dump --json`.
//
//     node check.js FOLDER-WITH-NODE_MODULES TINYDB
//
// Numbers are compared as JavaScript has them, which rounds those above 2^53 on both sides alike.
'use strict'
const fs = require('fs'), path = require('path'), { spawnSync } = require('child_process')
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

async function main() {
  const ksy = yaml.parse(fs.readFileSync(path.join(spec, 'tinydb.ksy'), 'utf8'))
  const files = await compiler.compile('javascript', ksy, null, false)
  const module_ = { exports: {} }
  const stub = name => (name.endsWith('KaitaiStream') ? KaitaiStream : {})
  new Function('module', 'exports', 'require', files['Tinydb.js'])(module_, module_.exports, stub)
  const parser = module_.exports.Tinydb || module_.exports
  const index = JSON.parse(fs.readFileSync(path.join(spec, 'vectors/index.json'), 'utf8'))
  // A block on its own and a log that is cut inside its header are no files that stand for themselves.
  const good = index.vectors.filter(it => it.verdict === 'good' && it.kind !== 'block' && !it.file.includes('torn-header'))
  for (const { file } of good) {
    const before = compared
    try { check(parser, path.join(spec, 'vectors', file)) } catch (error) { throw new Error(`${file}: ${error.stack}`) }
    console.log(`${file}: ${compared - before} values are those of the dump`)
  }
  if (good.length < 20 || compared < 2000) throw new Error('hardly anything was compared')
  console.log(`${good.length} files, ${compared} values`)
}

main().catch(error => { console.error(error.message || error); process.exit(1) })
