/**
 * Noise's primitives by node:crypto. @libp2p/noise brings its own, which spend a sixth of the time of a large transfer
 * on unwrapping the same key again for every packet, and on packets that come in pieces.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { type ICryptoInterface, type KeyPair, pureJsCrypto } from '@libp2p/noise'

/** Bytes in one piece or in several; of the latter libp2p has a class, which is not ours to import. */
type Bytes = Parameters<ICryptoInterface['hashSHA256']>[0]

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
const KEY_BYTES = 32
/** Noise counts a packet's length in two bytes. */
const PACKET_BYTES = 65_535

/** Up to here a copy costs less than the system call that each piece is written with. */
const SMALL_BYTES = 16 * 1024

/** A new key pair as DER, in which the last 32 bytes are the key itself. */
function newKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
  }
}

/** What stands before those in every key of the kind. */
const derPrefix = (({ publicKey, privateKey }) => ({
  publicKey: publicKey.subarray(0, -KEY_BYTES),
  privateKey: privateKey.subarray(0, -KEY_BYTES),
}))(newKeyPair())

/** A session keeps its two keys for as long as it lives, so that each is unwrapped once. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>()

function keyObject(key: Uint8Array): KeyObject {
  const known = keyObjects.get(key)
  if (known !== undefined) return known
  const made = createSecretKey(key)
  keyObjects.set(key, made)
  return made
}

/** Packets are decrypted one at a time, each copied out of here before the next. */
const packet = new Uint8Array(PACKET_BYTES)

function inOnePiece(bytes: Bytes): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes
  let length = 0
  for (const piece of bytes) {
    packet.set(piece, length)
    length += piece.length
  }
  return packet.subarray(0, length)
}

function privateKeyOf(raw: Uint8Array): KeyObject {
  const key = Buffer.concat([derPrefix.privateKey, raw])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  const key = Buffer.concat([derPrefix.publicKey, raw])
  return createPublicKey({ key, format: 'der', type: 'spki' })
}

export const noiseCrypto: ICryptoInterface = {
  getHKDF: pureJsCrypto.getHKDF,

  hashSHA256(data) {
    const hash = createHash('sha256')
    for (const piece of data instanceof Uint8Array ? [data] : data) hash.update(piece)
    return hash.digest()
  },

  generateX25519KeyPair() {
    const { publicKey, privateKey } = newKeyPair()
    return {
      publicKey: publicKey.subarray(-KEY_BYTES),
      privateKey: privateKey.subarray(-KEY_BYTES),
    }
  },

  generateX25519KeyPairFromSeed(seed) {
    const publicKey = createPublicKey(privateKeyOf(seed)).export({ type: 'spki', format: 'der' })
    return { publicKey: publicKey.subarray(-KEY_BYTES), privateKey: seed }
  },

  generateX25519SharedKey(privateKey, publicKey) {
    return diffieHellman({
      privateKey: privateKeyOf(privateKey.subarray()),
      publicKey: publicKeyOf(publicKey.subarray()),
    })
  },

  chaCha20Poly1305Encrypt(plaintext, nonce, ad, key) {
    const cipher = createCipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    if (ad.length > 0) cipher.setAAD(ad, { plaintextLength: plaintext.byteLength })
    if (plaintext instanceof Uint8Array || plaintext.byteLength <= SMALL_BYTES) {
      const encrypted = cipher.update(plaintext.subarray())
      return Buffer.concat([encrypted, cipher.final(), cipher.getAuthTag()])
    }
    // An empty list to collect in. A stream cipher gives as many bytes as it gets, and none at the end.
    const output = plaintext.sublist(0, 0)
    for (const piece of plaintext) output.append(cipher.update(piece))
    cipher.final()
    output.append(cipher.getAuthTag())
    return output
  },

  /** @throws Error if the packet is not what the other side sent; nothing of it is given out then */
  chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key) {
    const bytes = inOnePiece(ciphertext)
    const encrypted = bytes.subarray(0, -TAG_BYTES)
    const decipher = createDecipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    if (ad.length > 0) decipher.setAAD(ad, { plaintextLength: encrypted.length })
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    const plaintext = decipher.update(encrypted)
    decipher.final()
    return plaintext
  },
}
