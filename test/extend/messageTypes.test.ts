import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Json } from '../../actors/output.ts'
import { defineMessageType, type MessageType, messageCheck } from '../../src/extend/messageTypes.ts'
import { clientOf } from './client.ts'

const sensorData = defineMessageType({
  name: 'sensor_data',
  schema: z.object({ sensor_id: z.string(), sensor_type: z.string(), value: z.number(), unit: z.string().default('celsius') }),
})
const reading = { message_type: 'sensor_data', sensor_id: 'temp-001', sensor_type: 'temperature', value: 23.5 }

const check = (body: Json, { types = [sensorData], channel = 'sensors' }: { types?: MessageType[]; channel?: string } = {}) =>
  messageCheck([{ name: 'iot', messageTypes: types }])?.(clientOf('ada'), { channel, body })

describe('a message of a defined type', () => {
  it('passes when its content fits, and is not changed', () => {
    const body = { ...reading, floor: 3 }
    expect(check(body)).toBeUndefined()
    expect(body).toEqual({ ...reading, floor: 3 })
  })

  it('is refused with the path of what is wrong', () => {
    expect(() => check({ ...reading, value: 'warm' })).toThrow(
      expect.objectContaining({
        code: 'message.invalid',
        rule: 'message_type sensor_data',
        detail: expect.stringMatching(/^content\.value: .*number.*string/),
      }),
    )
  })

  it('names every part that is wrong, the first five of many, in at most 1 000 characters', () => {
    expect(() => check({ message_type: 'sensor_data', value: 1 })).toThrow(/content\.sensor_id: .*; content\.sensor_type: /)
    const rows = defineMessageType({ name: 'rows', schema: z.object({ rows: z.array(z.object({ 'a b': z.number() })) }) })
    const many = { message_type: 'rows', rows: Array.from({ length: 2_000 }, () => ({ 'a b': 'x' })) }
    expect(() => check(many, { types: [rows] })).toThrow(/content\.rows\[0\]\["a b"\]: .*content\.rows\[4\].*; and 1995 more$/)
    const talkative = defineMessageType({ name: 'long', schema: z.object({}).refine(() => false, 'x'.repeat(5_000)) })
    expect(() => check({ message_type: 'long' }, { types: [talkative] })).toThrow(
      expect.objectContaining({ detail: expect.stringMatching(/^.{1000}$/) }),
    )
  })

  it('is looked at only in the channels of the type', () => {
    const types = [{ ...sensorData, channels: 'sensors/*' }]
    const wrong = { ...reading, value: 'warm' }
    expect(() => check(wrong, { types, channel: 'sensors/roof/1' })).toThrow('content.value')
    expect(check(wrong, { types, channel: 'my/sensors/1' })).toBeUndefined()
  })

  it('waits for a schema that takes its time, and only for that', async () => {
    const slow = defineMessageType({ name: 'slow', schema: z.object({ id: z.string().refine(async (id) => id === 'known', 'unknown') }) })
    const types = [slow, sensorData]
    expect(check(reading, { types })).toBeUndefined()
    await expect(check({ message_type: 'slow', id: 'known' }, { types })).resolves.toBeUndefined()
    await expect(check({ message_type: 'slow', id: 'other' }, { types })).rejects.toMatchObject({ detail: 'content.id: unknown' })
  })
})

describe('a message of no defined type', () => {
  it.each([
    ['a text', 'sensor_data'],
    ['null', null],
    ['a list', ['sensor_data']],
    ['no type', { value: 'warm' }],
    ['a type nobody defined', { message_type: 'user_action', value: 'warm' }],
    ['a type that is no text', { message_type: 7 }],
    ['a name of objects', { message_type: '__proto__' }],
  ])('is relayed as it is: %s', (_, body) => {
    expect(check(body)).toBeUndefined()
  })

  it('costs nothing when no types are defined: there is no check', () => {
    expect(messageCheck([{ name: 'a' }, { name: 'b', messageTypes: [] }])).toBeUndefined()
  })
})

describe('the definition of a message type', () => {
  it.each([
    [{ name: 'two words' }, '"two words"'],
    [{ schema: { value: 'number' } }, '`schema`'],
    [{ channels: '' }, '`channels`'],
  ])('is refused when it is wrong: %j', (wrong, text) => {
    expect(() => defineMessageType({ ...sensorData, ...(wrong as object) })).toThrow(
      expect.objectContaining({ code: 'config.invalid', message: expect.stringContaining(text) }),
    )
  })

  it('is refused when another plugin has one of the same name', () => {
    const owner = (name: string) => ({ name, messageTypes: [sensorData] })
    expect(() => messageCheck([owner('a'), owner('b')])).toThrow('message type sensor_data of plugin b: plugin a has one of this name')
  })
})
