import { Worker } from "node:worker_threads";
import { AppError, type Deferred, deferred } from "@soci-ts/core";
import type { PasswordAnswer, PasswordQuestion } from "./password-worker.ts";

/** The thread that computes bcrypt, so that requests are answered meanwhile. It starts with the first question; a new one follows one that ended. */
export class PasswordThread implements AsyncDisposable {
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, Deferred<boolean>>();
  #lastId = 0;

  /** True if the password belongs to the hash. @throws AppError `internal` if the thread ended. */
  async compare(password: string, hash: string): Promise<boolean> {
    this.#worker ??= this.#start();
    this.#lastId += 1;
    const question: PasswordQuestion = { id: this.#lastId, password, hash };
    const answer = deferred<boolean>();
    this.#waiting.set(question.id, answer);
    this.#worker.postMessage(question);
    return answer.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL("./password-worker.js", import.meta.url), { execArgv: [] });
    worker.unref();
    worker.on("message", ({ id, isRight }: PasswordAnswer) => {
      this.#waiting.get(id)?.resolve(isRight);
      this.#waiting.delete(id);
    });
    let reason = "it ended";
    worker.on("error", (error) => {
      reason = AppError.from(error).message;
    });
    worker.on("exit", () => {
      this.#worker = undefined;
      for (const answer of this.#waiting.values()) {
        answer.reject(new AppError("internal", `Cannot compare passwords: ${reason}`));
      }
      this.#waiting.clear();
    });
    return worker;
  }
}
