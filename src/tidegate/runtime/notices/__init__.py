"""What people should know: in which words, in which message, and when it is sent.

    notice      one thing that a person should know, and its sentence
    staleness   whether a config gets no data for longer than it should
    digest      notices that are sent together, and when
    outbox      what waits for each group of recipients, and what was sent

The same on every target: a service sends what is due with Apprise, a sweep on AWS to a topic.
"""
